"""Serve a model over OpenAI's HTTP API: chats, completions, tools, JSON; many users at once.

It listens on this machine only unless --host says otherwise, and begins to answer when the model is loaded; until
then /health answers 503. SIGTERM or Ctrl-C lets answers end within --shutdown_timeout, a second one ends them now.
Needs the extra [server]: pip install 'ftllm-nb[server]'.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

from ftllm_nb.cli.model_arguments import add_model_arguments, chosen_path, engine_options
from ftllm_nb.cli.number_types import byte_size, real_number, whole_number
from ftllm_nb.cli.progress_bar import ProgressBar
from ftllm_nb.cli.value_types import OneOf, secret
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.serving.options import ServerOptions

ALIASES = ("serve",)
GROUP = "Serve"
EXAMPLES = (
    "ftllm-nb server -p ~/Qwen2.5-0.5B-Instruct -t 4 --port 8080",
    "ftllm-nb server Qwen/Qwen2.5-0.5B-Instruct --dtype int8 --host 0.0.0.0 --api_key SECRET",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb server`."""
    add_model_arguments(parser)
    add_server_arguments(parser, port=8080)


def add_server_arguments(parser: argparse.ArgumentParser, port: int) -> None:
    """Declare where to listen, who may ask, and how much."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1, this machine)"
    )
    group.add_argument(
        "--port", type=whole_number(0, 65535), default=port, metavar="N", help=f"port, 0 for any (default: {port})"
    )
    group.add_argument(
        "--api_key",
        action="append",
        type=secret,
        metavar="KEY",
        help="a key that requests must show; may be given several times (default: FTLLM_NB_API_KEY, else none)",
    )
    group.add_argument(
        "--model_name", metavar="NAME", help="the model's name in the API (default: the folder's name)"
    )
    group.add_argument(
        "--strict_model_name",
        action="store_true",
        help="refuse requests for a model of another name (default: the one model answers them)",
    )
    group.add_argument(
        "--tool_call_parser",
        type=OneOf(family_names),
        metavar="NAME",
        help="how the model writes calls of functions and thinking, such as hermes, llama3 or harmony (default: as its "
        "chat template says)",
    )
    group.add_argument(
        "--cors_origin", action="append", metavar="URL", help="let pages of this origin use the API, * for all"
    )
    group.add_argument(
        "--allowed_host",
        action="append",
        metavar="NAME",
        help="a further name by which this machine may be asked, * for any; without a key, and for --host of this "
        "machine alone, others are refused",
    )
    group.add_argument("--key_for_health", action="store_true", help="ask for the key on /health, too")
    group.add_argument("--open_metrics", action="store_true", help="answer /metrics without a key")
    group.add_argument(
        "--log_text", action="store_true", help="write prompts and answers into the log, too"
    )
    add_load_arguments(parser)


def add_load_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how much may go on at once."""
    group = parser.add_argument_group("many users at once")
    group.add_argument(
        "--max_batch", type=whole_number(1, 256), default=32, metavar="N", help="most answers at once (default: 32)"
    )
    group.add_argument(
        "--max_queue",
        type=whole_number(1),
        default=256,
        metavar="N",
        help="most requests that wait; more are refused with status 429 (default: 256)",
    )
    group.add_argument(
        "--chunked_prefill_size",
        type=whole_number(1, 512),
        metavar="N",
        help="most tokens of a step, so that a long prompt does not stall other answers (default: 64, or --max_batch "
        "where that is more)",
    )
    group.add_argument(
        "--max_context_length",
        type=whole_number(1),
        metavar="N",
        help="most tokens of a prompt and its answer (default: what the model and the cache hold)",
    )
    group.add_argument(
        "--kv_cache_limit",
        type=byte_size,
        metavar="SIZE",
        help="most memory for keys and values, such as 4G or 500M (default: twice what --max_batch contexts take, "
        "at most a quarter of the free memory, or half where one context needs it)",
    )
    group.add_argument(
        "--kv_cache_idle",
        type=real_number(0),
        default=300.0,
        metavar="SECONDS",
        help="after so long without requests, kept beginnings of prompts are dropped and their memory is given back; 0 "
        "keeps them (default: 300)",
    )
    group.add_argument(
        "--request_timeout",
        type=real_number(0, above_low=True),
        default=600.0,
        metavar="SECONDS",
        help="longest time for one answer (default: 600)",
    )
    group.add_argument(
        "--shutdown_timeout",
        type=real_number(0),
        default=10.0,
        metavar="SECONDS",
        help="time for answers to end after SIGTERM or Ctrl-C (default: 10)",
    )


def family_names() -> list[str]:
    """The families of answers."""
    from ftllm_nb.answers import families  # only here: --help does not wait for it

    return families.family_names()


def run(args: argparse.Namespace) -> int:
    """Serve until told to end; the exit status."""
    return serve(args, server_options(args), extra="server")


def serve(args: argparse.Namespace, options: ServerOptions, *, extra: str) -> int:
    """Serve as the options say until told to end; the exit status. `extra`: which one brings the packages."""
    try:
        from ftllm_nb.serving.run import run_server
    except ImportError as error:
        raise UsageError(
            f"the {extra} needs the package {error.name}: install it with pip install 'ftllm-nb[{extra}]'."
        ) from error
    from ftllm_nb.engine_options import EngineOptions
    from ftllm_nb.hub import is_model_name
    from ftllm_nb.loading import LoadedModel, PreparedModel, prepare

    path = chosen_path(args)
    with ProgressBar() as bar:

        def prepared() -> PreparedModel:
            return prepare(
                path,
                EngineOptions(**engine_options(args)),
                graph=args.custom,
                tokenizer=args.tokenizer,
                revision=args.revision,
                cache_dir=args.cache_dir,
                max_context=options.max_context_length,
                warn=bar.warn,
            )

        # What is wrong with a folder is said before it listens: a waiting client would be let down. A download may
        # take hours, so that it listens first.
        at_hand = None if is_model_name(path) else prepared()

        def load() -> LoadedModel:
            return (at_hand or prepared()).load(bar.update)

        if options.is_public and not options.api_keys:
            bar.warn(f"anybody who reaches {options.host} may use this server: give it an --api_key.")
        run_server(options, load, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    return 0


def server_options(args: argparse.Namespace, title: str | None = None) -> ServerOptions:
    """What the flags ask for; with a title there is a chat page. UsageError for flags that contradict each other."""
    from ftllm_nb.serving.options import ServerOptions

    chunk = args.chunked_prefill_size or max(ServerOptions.chunked_prefill_size, args.max_batch)
    if chunk < args.max_batch:
        raise UsageError(
            f"--chunked_prefill_size {chunk} is less than --max_batch {args.max_batch}: each "
            "answer needs a token of a step."
        )
    return ServerOptions(
        host=args.host,
        port=args.port,
        api_keys=tuple(args.api_key or ()),
        title=title,
        tool_call_parser=args.tool_call_parser,
        model_name=args.model_name or PurePath(chosen_path(args)).name or "model",
        strict_model_name=args.strict_model_name,
        cors_origins=tuple(args.cors_origin or ()),
        allowed_hosts=tuple(args.allowed_host or ()),
        key_for_health=args.key_for_health,
        open_metrics=args.open_metrics,
        max_batch=args.max_batch,
        max_queue=args.max_queue,
        chunked_prefill_size=chunk,
        max_context_length=args.max_context_length,
        kv_cache_bytes=args.kv_cache_limit,
        kv_cache_idle_seconds=args.kv_cache_idle,
        request_seconds=args.request_timeout,
        shutdown_seconds=args.shutdown_timeout,
        log_text=args.log_text,
    )

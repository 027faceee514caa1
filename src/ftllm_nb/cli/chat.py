"""Talk with a model: on a terminal, line by line in a pipe, or one question with -m or --file.

On a terminal, answers appear as they are made, and /help lists the commands: /regen, /undo, /save and others.
Ctrl-C stops an answer, and Ctrl-D leaves. When input or output is no terminal, each line of input is one turn of the
same conversation, and each answer is printed as plain text with a line end.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from ftllm_nb.cli.model_arguments import add_model_arguments, chosen_path, load_model
from ftllm_nb.cli.sampling_arguments import add_sampling_arguments, given_settings
from ftllm_nb.cli.value_types import true_or_false
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.conversation import Conversation
    from ftllm_nb.cli.talk.saved import SavedConversation

ALIASES = ("run",)
GROUP = "Talk"
EXAMPLES = (
    "ftllm-nb chat -p ~/Qwen2.5-0.5B-Instruct -t 4 --temperature 0.7",
    'ftllm-nb chat --continue',
    'git diff | ftllm-nb chat -m "Describe this change." --file -',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `ftllm-nb chat`."""
    add_model_arguments(parser)
    add_sampling_arguments(parser)
    group = parser.add_argument_group("conversation")
    group.add_argument(
        "-m", "--message", metavar="TEXT", help="ask this one question, print the answer and leave"
    )
    group.add_argument(
        "--file",
        metavar="FILE",
        help="ask what this file holds, as one question (after that of -m, where there is one); - is standard input",
    )
    group.add_argument("--system", metavar="TEXT", help="the system message: how the model is told to behave")
    group.add_argument(
        "--continue",
        action="store_true",
        dest="go_on",
        help="go on with the conversation that was held last, with its settings and its model",
    )
    group.add_argument(
        "--enable_thinking",
        nargs="?",
        const=True,
        type=true_or_false,
        metavar="true|false",
        help="tell the chat template whether the model should think before it answers (default: the template's own)",
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "--hide_thinking",
        action="store_true",
        help="leave out what the model writes between <think> and </think> (its thinking, in whatever tags it has)",
    )
    group.add_argument(
        "--plain", action="store_true", help="show answers as they are, without colours for headings, code and emphasis"
    )
    group.add_argument(
        "--json", action="store_true", help="print a line of JSON for each answer, with its times, instead of text"
    )


def run(args: argparse.Namespace) -> int:
    """Load the model and talk; the exit status."""
    from ftllm_nb.cli.talk.conversation import Conversation
    from ftllm_nb.cli.talk.keyboard import without_echo
    from ftllm_nb.cli.talk.last_conversation import recall, remember
    from ftllm_nb.cli.talk.screen import Screen

    saved = recall() if args.go_on else None
    if saved is not None and args.path is None and args.positional_path is None:
        args.path = saved.model
    question = question_of(args)
    is_terminal = question is None and not args.json and sys.stdin.isatty() and sys.stdout.isatty()
    if is_terminal:
        import_ahead()
    with without_echo(as_keys=Screen().can_erase) if is_terminal else nullcontext():
        loaded = load_model(args)
    from ftllm_nb.loading import warn_on_stderr

    with closing(loaded) as model:
        conversation = Conversation(model, args.system, given_settings(args), args.enable_thinking)
        if saved is not None:
            saved.restore(conversation)
            use_flags(conversation, args)
        if args.enable_thinking is not None and not conversation.template_knows_thinking:
            warn_on_stderr("the model has no chat template that switches thinking: --enable_thinking changes nothing.")
        if is_terminal:
            talk(conversation, args, saved)
            return 0

        from ftllm_nb.cli.talk.plain import PlainOutput, answer_lines

        output = PlainOutput(
            conversation, as_json=args.json, hide_thinking=args.hide_thinking, markdown=not args.plain
        )
        if question is None:
            answer_lines(output)
        else:
            output.answer(question)
        if saved is not None:
            remember(conversation, chosen_path(args))
    return 0


def question_of(args: argparse.Namespace) -> str | None:
    """What -m and --file ask together; None without them. Raises `UsageError` also for a question that is neither."""
    path = args.positional_path
    if path is not None and " " in path.strip() and not os.path.lexists(path):
        raise UsageError(f"{path!r} is taken for a model's path, and nothing is there: a question goes after -m.")
    if args.message is not None and not args.message.strip():
        raise UsageError("the text of -m is empty: write the question after it.")
    if args.file is None:
        message: str | None = args.message
        return message

    from ftllm_nb.cli.talk.plain import read_question

    text = read_question(args.file)
    return text if args.message is None else f"{args.message}\n\n{text}"


def use_flags(conversation: Conversation, args: argparse.Namespace) -> None:
    """What flags say goes before what a conversation was saved with, and that before the user's settings."""
    said = given_settings(args)
    conversation.settings = {
        **said,
        **conversation.settings,
        **{name: value for name, value in said.items() if preset_of(args, name) is None},
    }
    for name in ("system", "enable_thinking"):
        value = getattr(args, name)
        if value is not None and (preset_of(args, name) is None or getattr(conversation, name) is None):
            setattr(conversation, name, value)


def preset_of(args: argparse.Namespace, flag: str) -> str | None:
    """Which of the user's settings says what a flag is; None where the command line does."""
    preset = args.presets.get(flag)
    return preset.where if preset is not None and preset.value is getattr(args, flag) else None


def import_ahead() -> None:
    """Import what draws the prompt while the model loads: most of that waits for files and compiled code."""
    import importlib
    import threading

    threading.Thread(target=importlib.import_module, args=("ftllm_nb.cli.talk.prompt",), daemon=True).start()


def talk(conversation: Conversation, args: argparse.Namespace, saved: SavedConversation | None) -> None:
    """A terminal session."""
    from ftllm_nb.cli.talk.repl import Repl
    from ftllm_nb.cli.talk.terminal import talk_on_terminal

    repl = Repl(
        conversation,
        chosen_path(args),
        weights_line(conversation, args),
        markdown=not args.plain,
        hide_thinking=args.hide_thinking,
        origins=origins(args, saved),
    )
    conversation.model.loaded.tell_by(repl.warnings.append)
    talk_on_terminal(repl, saved)


def origins(args: argparse.Namespace, saved: SavedConversation | None) -> dict[str, str]:
    """Who gave each setting of sampling, by its name: a flag, the user's settings, or the saved conversation."""
    of_saved = dict.fromkeys(saved.settings if saved is not None else (), "the saved conversation")
    said = {name: preset_of(args, name) for name in given_settings(args)}
    by_settings = {name: where for name, where in said.items() if where is not None}
    return {**by_settings, **of_saved, **{name: f"--{name}" for name, where in said.items() if where is None}}


def weights_line(conversation: Conversation, args: argparse.Namespace) -> str:
    """Type of the weights, instruction tier and threads."""
    from ftllm_nb.kernels.tiers import current_tier

    model = conversation.model
    tier = current_tier().name if args.engine == "compiled" else args.engine
    return f"{model.weight_dtype}, {tier}, {model.threads} {'thread' if model.threads == 1 else 'threads'}"

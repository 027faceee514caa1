"""The parser of all commands, and `main`, which runs one and turns errors into a sentence and an exit status.

Exit status: 0 done, 2 bad usage or bad input, 1 a defect of ftllm-nb or output that cannot be written,
130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import ModuleType

from ftllm_nb import __version__, cli
from ftllm_nb.cli.parser import CommandParser
from ftllm_nb.cli.presets import apply_presets, warn_of_unused, with_origin
from ftllm_nb.cli.system_limits import ENGINE, explain, require_room, use_one_blas_thread
from ftllm_nb.errors import FtllmError
from ftllm_nb.terminal_text import guard_terminals, one_printable_line

GROUPS = ("Talk", "Serve", "Models", "Speed", "This program")
EXAMPLES = ("ftllm-nb chat", "ftllm-nb chat Qwen/Qwen2.5-0.5B-Instruct --dtype int8")
ASKS_ABOUT_ITSELF = {"-h", "--help", "--version"}
"""Answered also where the user's settings are wrong."""

OBJECTS_BETWEEN_SEARCHES = 100_000
"""Of garbage."""

STATUS_DEFECT = 1
STATUS_BAD_INPUT = 2
STATUS_INTERRUPTED = 130


def find_commands() -> Iterator[tuple[str, ModuleType]]:
    """Name and module of each command, in alphabetical order."""
    for found in pkgutil.iter_modules(cli.__path__):
        if found.ispkg:
            continue
        module = importlib.import_module(f"{cli.__name__}.{found.name}")
        if hasattr(module, "run"):
            yield found.name, module


def build_parser() -> CommandParser:
    """The parser of every command; `.commands` maps the name of each command to its own parser."""
    commands = list(find_commands())
    parser = CommandParser(
        prog="ftllm-nb",
        usage="ftllm-nb COMMAND …",
        description=f"Large language models on CPUs, described in one Python file.\n\n{overview(commands)}",
        epilog=f"ftllm-nb COMMAND --help shows the flags of a command.\n\n{examples(EXAMPLES)}",
    )
    add_version(parser)
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, prog="ftllm-nb", help=argparse.SUPPRESS
    )
    for name, module in commands:
        command = subparsers.add_parser(
            name,
            add_help=False,
            aliases=getattr(module, "ALIASES", ()),
            description=(module.__doc__ or name).strip(),
            epilog=examples(module.EXAMPLES),
        )
        module.add_arguments(command)
        add_common_arguments(command)
        command.usage = command.short_usage(name)
        command.set_defaults(run=module.run, need=getattr(module, "NEED", ENGINE))
        parser.commands[name] = command
    return parser


def overview(commands: list[tuple[str, ModuleType]]) -> str:
    """The commands with a line each, what its help says up to the first aside, in groups as people think of them."""
    width = max(len(name) for name, _ in commands)
    lines = []
    for group in GROUPS:
        lines.append(f"{group}:")
        for name, module in commands:
            if module.GROUP == group:
                summary = re.split(r"[:,] ", (module.__doc__ or name).strip().splitlines()[0])[0]
                lines.append(f"  {name:{width}}  {summary.rstrip('.')}")
    return "\n".join(lines)


def examples(lines: Sequence[str]) -> str:
    """Command lines to copy."""
    return "examples:\n" + "\n".join(f"  {line}" for line in lines)


def add_common_arguments(parser: CommandParser) -> None:
    """Declare what every command has, after what it alone has."""
    group = parser.add_argument_group("this program")
    group.add_argument("-h", "--help", action="help", help="show this help message and exit")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error as well")
    add_version(group)


def add_version(parser: argparse._ActionsContainer) -> None:
    """Declare `--version`, which prints the version and leaves."""
    parser.add_argument(
        "--version", action="version", version=f"ftllm-nb {__version__}", help="show the version"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the program's arguments) names; the exit status."""
    look_for_garbage_less_often()
    make_streams_tolerant()
    guard_terminals()
    debug, args = False, argparse.Namespace(presets={}, unused_presets={})
    try:
        arguments = sys.argv[1:] if argv is None else argv
        parser = build_parser()
        if not ASKS_ABOUT_ITSELF.intersection(arguments):
            apply_presets(parser)
        parser.parse_args(arguments, args)
        debug = args.debug
        warn_of_unused(args)
        require_room(args.need)
        use_one_blas_thread()
        status = int(args.run(args))
        flush_output()
        return status
    except SystemExit as leave:  # from the parser: --help, --version, bad usage
        return leave.code if isinstance(leave.code, int) else 0
    except FtllmError as error:
        return report(with_origin(args, str(error)), STATUS_BAD_INPUT, debug)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # the shell's prompt does not follow the ^C that the terminal shows
        return STATUS_INTERRUPTED
    except BrokenPipeError:
        # The reader left, as `| head -1` does: nobody is there to be told, and nothing went wrong.
        return 0
    except Exception as error:
        explained = explain(error)
        if explained is not None:
            return report(explained, STATUS_BAD_INPUT, debug)
        if isinstance(error, OSError):
            return report(f"the operating system refused: {error.strerror or error}.", STATUS_DEFECT, debug)
        message = f"unexpected {type(error).__name__}: {error} (a defect of ftllm-nb; --debug shows where)."
        return report(message, STATUS_DEFECT, debug)
    finally:
        discard_unwritable_output()


def report(message: str, status: int, debug: bool) -> int:
    """Print `error: message` on stderr, after what was answered so far; `status`, for returning it."""
    discard_unwritable_output()
    if debug:
        traceback.print_exc()
    print(f"error: {one_printable_line(message)}", file=sys.stderr)
    return status


def look_for_garbage_less_often() -> None:
    """Let Python look for cycles of garbage whenever a hundred thousand objects more are alive, not seven hundred.

    Modules, vocabularies and graphs are objects that stay, and looking through them again and again took a tenth of
    what starting takes.
    """
    gc.set_threshold(OBJECTS_BETWEEN_SEARCHES, *gc.get_threshold()[1:])


def make_streams_tolerant() -> None:
    """Let output fail for no lack of a character, which becomes `?` or an escape, and for no closed stream.

    A closed stream's number would go to the next file that is opened, which `print` might then write into.
    """
    for name, errors in (("stdin", "replace"), ("stdout", "replace"), ("stderr", "backslashreplace")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)


def flush_output() -> None:
    """Write out what is buffered; raises OSError where that fails."""
    sys.stdout.flush()


def discard_unwritable_output() -> None:
    """Flush; where that fails, point stdout nowhere, so that Python's flush at exit does not fail too."""
    try:
        flush_output()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

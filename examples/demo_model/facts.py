"""The facts about ftllm-nb that the demo model is taught, generated out of the program itself.

Commands and flags come from the command line's parser, operators from the files in ``ftllm_nb.ops``, and each
recipe (a command line) is parsed before it is believed. ``facts.json`` is what the bundled model was taught:

    python examples/demo_model/facts.py            # compare what was taught with what is true now
    python examples/demo_model/facts.py --write    # before training anew
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path

TAUGHT = Path(__file__).with_name("facts.json")
LATER = {"graph", "init", "verify"}
"""Commands that are newer than the bundled model, which knows nothing of them: empty this before training anew."""
RECIPES = {
    "start a chat": "ftllm-nb chat",
    "use my own model file": "ftllm-nb chat --custom FILE",
    "describe a model in Python": "ftllm-nb chat --custom FILE",
    "load another model": "ftllm-nb chat -p PATH",
    "set the number of threads": "ftllm-nb chat -t 2",
    "ask one question": "ftllm-nb chat -m TEXT",
    "always get the likeliest answer": "ftllm-nb chat --temperature 0",
    "check my graph with NumPy": "ftllm-nb chat --engine reference",
    "load the weights in 8 bits": "ftllm-nb chat --dtype int8",
    "load the weights in 4 bits": "ftllm-nb chat --dtype int4g32",
    "measure the speed": "ftllm-nb bench",
    "make a model smaller": "ftllm-nb quantize MODEL -o OUT --dtype int4g32",
    "quantize a model": "ftllm-nb quantize MODEL -o OUT --dtype int4g32",
    "start a server": "ftllm-nb server",
    "serve many users": "ftllm-nb server",
    "chat in a browser": "ftllm-nb webui",
    "open the web page": "ftllm-nb webui",
    "download a model": "ftllm-nb download NAME",
    "see which models I have": "ftllm-nb list",
    "go on with the last conversation": "ftllm-nb chat --continue",
    "see what this machine can do": "ftllm-nb info",
    "set the system message": "ftllm-nb chat --system TEXT",
    "get the same answer again": "ftllm-nb chat --seed 1",
    "limit the length of an answer": "ftllm-nb chat --max_tokens 20",
}


@dataclass(frozen=True, order=True)
class Fact:
    """What is asked about (a command, a flag, an operator …) and what is answered."""

    kind: str
    subject: str
    answer: str


def first_clause(text: str) -> str:
    """A help text up to its first aside: what follows tells details, which change more often."""
    text = re.split(r" \(|; ", " ".join(text.split()))[0]
    clause = text.split(": ")[0]
    return (clause if len(clause.split()) > 2 else text).rstrip(".")


def listed(names: list[str]) -> str:
    """The names as in a sentence: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def command_facts() -> Iterator[Fact]:
    """Each command, its flags, and which commands have a flag."""
    from ftllm_nb.cli.entry import build_parser

    commands = {name: command for name, command in build_parser().commands.items() if name not in LATER}
    yield Fact("commands", "", f"The commands are: {', '.join(commands)}.")
    meanings: dict[str, dict[str, str]] = defaultdict(dict)
    takers: dict[str, list[str]] = defaultdict(list)
    for name, command in commands.items():
        yield Fact("command", name, f"{name}: {first_clause((command.description or name).splitlines()[0])}.")
        for action in command._actions:
            if action.option_strings and action.help:
                long = max(action.option_strings, key=len)
                takers[long].append(name)
                for spelling in action.option_strings:
                    meanings[spelling][name] = f"{long}: {first_clause(action.help)}."
    for spelling, by_command in meanings.items():
        for name, meaning in by_command.items():
            is_everywhere = len(set(by_command.values())) == 1
            yield Fact("flag", spelling if is_everywhere else f"{spelling} of {name}", meaning)
    for long, names in takers.items():
        where = "every command" if len(names) == len(commands) else listed(names)
        yield Fact("flag's commands", long, f"{long} is a flag of {where}.")


def operator_facts() -> Iterator[Fact]:
    """Each public operator: what it does and what it takes."""
    import ftllm_nb.ops
    from ftllm_nb.ops.base import Operator

    for found in pkgutil.iter_modules(ftllm_nb.ops.__path__):
        module = importlib.import_module(f"ftllm_nb.ops.{found.name}")
        for value in vars(module).values():
            is_here = isinstance(value, type) and value.__module__ == module.__name__
            if is_here and issubclass(value, Operator) and value is not Operator and value.public:
                summary = first_clause((module.__doc__ or "").strip().splitlines()[0].partition(": ")[2])
                yield Fact("operator", value.name, f"{value.name}: {summary}.")
                names = [parameter.name for parameter in value.parameters if not parameter.is_extra]
                yield Fact("parameters", value.name, f"{value.name} takes {', '.join(names) or 'nothing'}.")


def recipe_facts() -> Iterator[Fact]:
    """Command lines that the parser accepts."""
    from ftllm_nb.cli.entry import build_parser

    for aim, line in RECIPES.items():
        try:
            with redirect_stderr(StringIO()):
                build_parser().parse_args(shlex.split(line)[1:])
        except SystemExit:
            continue
        yield Fact("recipe", aim, line)


def collect() -> list[Fact]:
    """Everything that is true of ftllm-nb now."""
    return sorted({*command_facts(), *operator_facts(), *recipe_facts()})


def read_taught() -> list[Fact]:
    """What the bundled model was taught."""
    return [Fact(**fact) for fact in json.loads(TAUGHT.read_text(encoding="utf-8"))]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write facts.json")
    true_now = collect()
    if parser.parse_args().write:
        lines = ",\n".join(json.dumps(asdict(fact), ensure_ascii=False) for fact in true_now)
        TAUGHT.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        print(f"{len(true_now)} facts written to {TAUGHT}")
        return 0
    stale = [fact for fact in read_taught() if fact not in true_now]
    for fact in stale:
        print(f"no longer true: {fact}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

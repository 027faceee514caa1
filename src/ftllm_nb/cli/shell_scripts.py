"""Completion scripts for bash, zsh and fish, made of the parser: what it declares is what is completed.

Texts are quoted for the shell that reads them (`single_quoted`, and what zsh's own functions take for a mark), not cut.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from ftllm_nb.cli.parser import CommandParser
from ftllm_nb.cli.preset_values import takes_path
from ftllm_nb.cli.value_types import CommaSeparated

PROGRAM = "ftllm-nb"


@dataclass(frozen=True)
class Flag:
    """A flag: its spellings, a line of help, whether a value follows, and the values if they are few.

    is_optional       the value may be left out
    takes_several     there may be several, with commas between them
    takes_path        a file or folder may be named
    """

    spellings: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]
    is_optional: bool
    takes_several: bool
    takes_path: bool


def flags(command: argparse.ArgumentParser) -> Iterator[Flag]:
    """What a command's parser declares."""
    for action in command._actions:
        if action.option_strings:
            yield Flag(
                spellings=tuple(action.option_strings),
                help=first_words(action.help or ""),
                takes_value=action.nargs != 0,
                choices=known_values(action),
                is_optional=action.nargs == "?",
                takes_several=isinstance(action.type, CommaSeparated),
                takes_path=takes_path(action),
            )


def known_values(action: argparse.Action) -> tuple[str, ...]:
    """The values of a flag or of a position, where they are few: its choices, or those that its type knows."""
    names = getattr(action.type, "known", None)
    return tuple(map(str, action.choices or (() if names is None else names())))


def first_words(text: str) -> str:
    """A help text up to its first aside."""
    return text.split(" (")[0].split(": ")[0].split("; ")[0].replace("%%", "%")


def single_quoted(text: str) -> str:
    """The text as one word of bash or zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def fish_quoted(text: str) -> str:
    """The text as one word of fish, where a backslash is read between quotes, too."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def escaped(text: str, marks: str) -> str:
    """The text with a backslash before each of the marks."""
    return "".join(f"\\{character}" if character in marks + "\\" else character for character in text)


def positional_choices(command: argparse.ArgumentParser) -> tuple[str, ...]:
    """Words that a command takes by position, where they are few."""
    return tuple(
        choice for action in command._actions if not action.option_strings for choice in known_values(action)
    )


def spellings(parser: CommandParser) -> dict[str, list[str]]:
    """By each command's name, what it may be called: the name, then its aliases."""
    known = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {
        name: [name, *(alias for alias, each in known.items() if each is command and alias != name)]
        for name, command in parser.commands.items()
    }


def bash(parser: CommandParser) -> str:
    """The script for bash."""
    cases = []
    for name, command in parser.commands.items():
        words = " ".join(spelling for flag in flags(command) for spelling in flag.spellings)
        values = "".join(
            f"        {'|'.join(flag.spellings)}) {bash_value(flag)} ;;\n"
            for flag in flags(command)
            if flag.takes_value
        )
        positional = " ".join(positional_choices(command))
        cases.append(
            f"    {'|'.join(spellings(parser)[name])})\n      case \"$before\" in\n{values}      esac\n"
            f"      if [[ $word == -* ]]; then COMPREPLY=($(compgen -W {single_quoted(words)} -- \"$word\"))\n"
            f"      else COMPREPLY=($(compgen -W {single_quoted(positional)} -- \"$word\")); fi ;;\n"
        )
    return (
        f"# completion of {PROGRAM} in bash\n_ftllm_nb() {{\n"
        '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" begun=""\n'
        "  COMPREPLY=()\n"
        '  [[ $before != = ]] || before="${COMP_WORDS[COMP_CWORD-2]}"; word="${word#=}"\n'  # of --flag=value
        "  if ((COMP_CWORD == 1)); then\n"
        f"    COMPREPLY=($(compgen -W '{' '.join(parser.commands)} --help --version' -- \"$word\")); return\n  fi\n"
        f'  case "${{COMP_WORDS[1]}}" in\n{"".join(cases)}  esac\n}}\n'
        f"complete -o default -F _ftllm_nb {PROGRAM}"
    )


def bash_value(flag: Flag) -> str:
    """The statements that offer a flag's values; where nothing is offered, bash offers files."""
    if not flag.choices:
        return "return"
    words = single_quoted(" ".join(flag.choices))
    if flag.takes_several:
        before_last = '[[ $word != *,* ]] || begun="${word%,*},"'
        return f'{before_last}; COMPREPLY=($(compgen -P "$begun" -W {words} -- "${{word##*,}}")); return'
    offer = f'COMPREPLY=($(compgen -W {words} -- "$word")); return'
    return f"if [[ $word != -* ]]; then {offer}; fi" if flag.is_optional else offer


def zsh(parser: CommandParser) -> str:
    """The script for zsh."""
    cases = []
    for name, command in parser.commands.items():
        specifications = []
        for flag in flags(command):
            value = ""
            if flag.takes_value:
                value = f"{'::' if flag.is_optional else ':'}value:{zsh_values(flag)}"
            described = escaped(flag.help, "[]:")
            for spelling in flag.spellings:
                equals = "=" if value and spelling.startswith("--") else ""  # the value may follow = as well
                specifications.append(single_quoted(f"{spelling}{equals}[{described}]{value}"))
        words = positional_choices(command)
        specifications.append(f"'*:argument:({' '.join(words)})'" if words else "'*:model:_files'")
        cases.append(f"    {'|'.join(spellings(parser)[name])}) _arguments {' '.join(specifications)} ;;\n")
    commands = " ".join(
        single_quoted(f"{name}:{escaped(first_words(summary(command)), ':')}")
        for name, command in parser.commands.items()
    )
    return (
        f"#compdef {PROGRAM}\n_ftllm_nb() {{\n"
        f"  if ((CURRENT == 2)); then\n    local -a commands=({commands})\n"
        "    _describe command commands; return\n  fi\n"
        "  local name=$words[2]\n  shift words; ((CURRENT--))\n"
        f"  case $name in\n{''.join(cases)}  esac\n}}\n"
        "(( $+functions[compdef] )) || { autoload -U compinit; compinit }\n"
        f"compdef _ftllm_nb {PROGRAM}"
    )


def zsh_values(flag: Flag) -> str:
    """What zsh's `_arguments` takes for a flag's values."""
    words = " ".join(flag.choices)
    if not words:
        return "_files" if flag.takes_path else ""
    if flag.takes_several:
        return f"_values -s , value {words}"
    return f"{{compadd -- {words}; _files}}" if flag.takes_path else f"({words})"


def fish(parser: CommandParser) -> str:
    """The script for fish."""
    lines = [f"# completion of {PROGRAM} in fish"]
    for name, command in parser.commands.items():
        described = fish_quoted(first_words(summary(command)))
        lines.append(f"complete -c {PROGRAM} -n __fish_use_subcommand -f -a {name} -d {described}")
        condition = f"-n '__fish_seen_subcommand_from {' '.join(spellings(parser)[name])}'"
        words = positional_choices(command)
        if words:
            lines.append(f"complete -c {PROGRAM} {condition} -f -a '{' '.join(words)}'")
        for flag in flags(command):
            spelt = " ".join(f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}" for each in flag.spellings)
            value = fish_value(flag) if flag.takes_value else ""
            lines.append(f"complete -c {PROGRAM} {condition} {spelt}{value} -d {fish_quoted(flag.help)}")
    return "\n".join(lines)


def fish_value(flag: Flag) -> str:
    """What fish's `complete` is told of a flag's values: -x for none but those, -r where files may be named."""
    words = " ".join(flag.choices)
    kind = " -r" if flag.takes_path else " -x"
    if not words:
        return kind
    return f"{kind} -a '(__fish_append , {words})'" if flag.takes_several else f"{kind} -a '{words}'"


def summary(command: argparse.ArgumentParser) -> str:
    """The first line of a command's description."""
    return (command.description or "").splitlines()[0].rstrip(".")

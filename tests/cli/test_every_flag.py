"""Every flag of every command, by command line, by variable and by config.toml, alone and together."""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.cli import build_parser, main
from ftllm_nb.cli.parser import CommandParser
from ftllm_nb.cli.presets import apply_presets, flags_of, uses_preset_path, variable
from ftllm_nb.cli.value_types import CommaSeparated

COMMANDS = list(build_parser().commands)
NEEDED = {"completion": ["bash"], "download": ["owner/name"]}
TEXTS = ("1", "2", "3", "4", "0.25", "0.5", "0.75", "int8", "int4", "int4g32", "1MB", "2MB", "3MB", "true", "false")
"""Of these each type takes three."""
SOURCES = ("file", "variable", "command line")


def texts(action: argparse.Action) -> tuple[str, str, str]:
    """What the three sources say of a flag, on the command line's terms; neighbours differ."""
    if action.nargs == 0:
        return "true", "false", "true"
    if action.choices is not None:
        return tuple(itertools.islice(itertools.cycle(map(str, action.choices)), 3))  # type: ignore[return-value]
    if not callable(action.type):
        return "first", "second words", "third"
    accepted = []
    known = getattr(action.type, "known", None)
    for text in TEXTS if known is None else known():
        try:
            action.type(text)
        except argparse.ArgumentTypeError:
            continue
        accepted.append(text)
    return tuple(itertools.islice(itertools.cycle(accepted), 3))  # type: ignore[return-value]


def several(action: argparse.Action) -> bool:
    return isinstance(action, argparse._AppendAction)


def on_the_command_line(flag: str, action: argparse.Action, text: str) -> list[str]:
    if action.nargs == 0:
        return [f"--{flag}" if text == "true" else f"--no_{flag}"]
    return [f"--{flag}", text, f"--{flag}", f"{text}!"] if several(action) else [f"--{flag}", text]


def in_toml(action: argparse.Action, text: str) -> str:
    if several(action):
        return json.dumps([text, f"{text}!"])
    if isinstance(action.type, CommaSeparated):
        return f"[{text}]" if text.isdigit() else json.dumps([text])
    return text if action.nargs == 0 or text.replace(".", "", 1).isdigit() else json.dumps(text)


def in_a_variable(action: argparse.Action, text: str) -> str:
    return in_toml(action, text) if several(action) else text


def value(args: argparse.Namespace, flag: str, action: argparse.Action) -> Any:
    if flag == "path" and uses_preset_path(args):
        return getattr(args, "preset_path", None)
    return getattr(args, action.dest)


def parsed(
    parser: CommandParser, command: str, line: list[str], environment: dict[str, str], file: Path
) -> argparse.Namespace:
    apply_presets(parser, environment, file)
    return parser.parse_args([command, *line, *NEEDED.get(command, [])])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_by_every_way(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What goes before takes the other's place, and each way gives what the command line gives."""
    file, nowhere = tmp_path / "config.toml", tmp_path / "none.toml"
    flags = flags_of(build_parser().commands[command])
    assert flags
    said = {flag: dict(zip(SOURCES, texts(action), strict=True)) for flag, action in flags.items()}

    def line(source: str) -> list[str]:
        words = (on_the_command_line(flag, action, said[flag][source]) for flag, action in flags.items())
        return list(itertools.chain.from_iterable(words))

    expected = {source: parsed(build_parser(), command, line(source), {}, nowhere) for source in SOURCES}
    table = [f"{flag} = {in_toml(action, said[flag]['file'])}" for flag, action in flags.items()]
    file.write_text("\n".join([f"[{command}]", *table]))
    environment = {variable(flag): in_a_variable(action, said[flag]["variable"]) for flag, action in flags.items()}
    for count in (1, 2, 3):
        for chosen in itertools.combinations(SOURCES, count):
            args = parsed(
                build_parser(),
                command,
                line("command line") if "command line" in chosen else [],
                environment if "variable" in chosen else {},
                file if "file" in chosen else nowhere,
            )
            assert args.unused_presets == {}
            for flag, action in flags.items():
                wanted = value(expected[chosen[-1]], flag, action)
                assert value(args, flag, action) == wanted, (flag, chosen)
    assert capsys.readouterr().err == ""


REPEATABLE = [
    (command, flag)
    for command, parser in build_parser().commands.items()
    for flag, action in flags_of(parser).items()
    if several(action)
]


@pytest.mark.parametrize("command, flag", REPEATABLE)
def test_one_value_of_a_flag_that_may_be_repeated(command: str, flag: str, tmp_path: Path) -> None:
    """It is that value, not its letters; commas do not part it, and a list may have one member, or none."""
    file = tmp_path / "config.toml"
    action = flags_of(build_parser().commands[command])[flag]
    line = ["--text", "README.md"] if command == "perplexity" else []
    for text, written in (("a,b c", "a,b c"), ("[a", '["[a"]'), ("one", '["one"]')):
        file.write_text(f"{flag} = {json.dumps(text)}\n" if written == text else f"{flag} = {written}\n")
        for environment, settings in (({variable(flag): written}, tmp_path / "none.toml"), ({}, file)):
            assert value(parsed(build_parser(), command, line, environment, settings), flag, action) == [text]
    if flag != "api_key":
        assert value(parsed(build_parser(), command, line, {variable(flag): "[]"}, file), flag, action) == []


BAD_KEYS = ("", "   ", " hush", "hush\n", "k\tey", "[]", '["good", ""]', '["a", ["b"]]', "[1]", "[a")


@pytest.mark.parametrize("key", BAD_KEYS)
@pytest.mark.parametrize("way", SOURCES)
def test_a_bad_key_is_refused_and_not_shown(
    key: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty one would open the server to everybody, and one with a space at its end to nobody."""
    if key[:1] == "[" and (way == "command line" or (key, way) == ("[a", "file")):
        return  # that is a key as any other
    (tmp_path / "ftllm-nb").mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    line = ["server", "-p", "/no/such/folder"]
    if way == "command line":
        line += ["--api_key", key]
    elif way == "variable":
        monkeypatch.setenv("FTLLM_NB_API_KEY", key)
    else:
        written = key if key.startswith("[") and key.endswith("]") else json.dumps(key)
        (tmp_path / "ftllm-nb" / "config.toml").write_text(f"[server]\napi_key = {written}\n")
    assert main(line) == 2
    err = capsys.readouterr().err
    place = {"command line": "--api_key", "variable": "FTLLM_NB_API_KEY", "file": "config.toml"}[way]
    assert place in err and err.count("\n") == 1 and "/no/such" not in err
    assert not any(shown in err for shown in ("good", "k\\t", "hush"))


def test_a_switch_of_the_settings_is_turned_off_by_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[chat]\nplain = true\n")
    for line, plain in (("", True), ("--no_plain", False), ("--no-plain --plain", True)):
        assert parsed(build_parser(), "chat", shlex.split(line), {}, file).plain is plain
    assert "--no_plain" not in build_parser().commands["chat"].format_help()

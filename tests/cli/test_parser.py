"""The parser: what each command declares, both spellings of a flag, and one sentence for bad usage."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from ftllm_nb import __version__
from ftllm_nb.cli import build_parser, main
from ftllm_nb.cli.model_arguments import MAX_THREADS

PARSER = build_parser()
FLAGS = [
    pytest.param(command, action, id=f"{command} {action.option_strings[-1]}")
    for command, parser in PARSER.commands.items()
    for action in parser._actions
    if action.option_strings
]


def test_commands_are_found_by_their_files() -> None:
    assert "chat" in PARSER.commands
    assert not {"entry", "parser", "model_arguments"} & set(PARSER.commands)


@pytest.mark.parametrize("command, flag", FLAGS)
def test_every_flag_is_explained_and_spelt_with_underscores(command: str, flag: argparse.Action) -> None:
    assert flag.help
    assert PARSER.commands[command].format_help()  # a stray % in a help text would raise
    for spelling in flag.option_strings:
        assert "-" not in spelling.lstrip("-"), "the parser turns inner dashes into underscores"


def test_run_is_chat() -> None:
    assert PARSER.parse_args(["run", "folder"]).run is PARSER.parse_args(["chat", "folder"]).run


@pytest.mark.parametrize("joint", ["_", "-"])
def test_flags_may_be_joined_by_dashes(joint: str) -> None:
    args = PARSER.parse_args(
        ["chat", f"--repeat{joint}penalty", "1.5", f"--kv{joint}cache{joint}dtype=float32", "-m", "a-b --c-d"]
    )
    assert (args.repeat_penalty, args.kv_cache_dtype, args.message) == (1.5, "float32", "a-b --c-d")


def test_values_keep_their_dashes() -> None:
    assert PARSER.parse_args(["chat", "--system=--top-p", "--", "--a-b"]).system == "--top-p"
    assert PARSER.parse_args(["chat", "--", "--a-b"]).positional_path == "--a-b"


def test_flags_that_are_not_given_leave_the_defaults_to_others() -> None:
    args = PARSER.parse_args(["chat"])
    given = {name for name, value in vars(args).items() if value is not None and value is not False}
    types = {"dtype", "embedding_dtype", "atype", "kv_cache_dtype", "state_dtype"}
    assert given == {"command", "run", "need", "engine", *types}


@pytest.mark.parametrize(
    "line, says",
    [
        ("", "a command is missing: "),
        ("caht", "unknown command 'caht' (did you mean chat?)"),
        ("zzz", "unknown command 'zzz'"),
        ("help", "unknown command 'help' (did you mean --help?)"),
        ("--nonsense", "unknown flag --nonsense; see"),
        ("--verison", "unknown flag --verison (did you mean --version?)"),
        ("chat --top_q 1", "unknown flag --top_q (did you mean --top_p?)"),
        ("chat --top-q=1", "unknown flag --top_q (did you mean --top_p?)"),
        ("chat --temp 1", "unknown flag --temp (did you mean --temperature?)"),
        ("chat --model 1", "unknown flag --model (did you mean --path?)"),
        ("chat --nothing 1", "unknown flag --nothing; see"),
        ("chat one two", "unexpected argument 'two' (put a text of several words in quotes)"),
        ("quantize demo out", "unexpected argument 'out' (the folder to make goes after -o)"),
        ("list all", "unexpected argument 'all'; see"),
        ("chat -t", "-t/--threads needs a value"),
        ("chat -t 0", "-t/--threads: a whole number from 1 to 1024 is expected, not '0'"),
        ("chat -t 9999", "1 to 1024"),
        ("chat -t -1", "1 to 1024"),
        ("chat -t two", "not 'two'"),
        ("chat -t 1.5", "not '1.5'"),
        ("chat -t " + "9" * 5000, "1 to 1024"),
        ("chat --temperature -0.1", "a number of at least 0"),
        ("chat --temperature nan", "a number of at least 0"),
        ("chat --temperature inf", "a number of at least 0"),
        ("chat --top_p 0", "above 0 and at most 1"),
        ("chat --top_p 1.01", "above 0 and at most 1"),
        ("chat --top_k -1", "of at least 0"),
        ("chat --min_p 2", "at most 1"),
        ("chat --repeat_penalty 0", "above 0"),
        ("chat --seed -1", "from 0 to"),
        ("chat --seed 18446744073709551616", "from 0 to"),
        ("chat --max_tokens 0", "of at least 1"),
        ("chat --enable_thinking maybe", "true or false is expected, not 'maybe'"),
        ("chat --engine fast", "--engine: compiled or reference is expected, not 'fast'"),
        ("chat --atype int8", "--atype: auto, float32, float16 or bfloat16 is expected, not 'int8'"),
        ("chat --kv_cache_dtype int3", "not 'int3' (did you mean int8?)"),
        ("chat --dtype INT8", "not 'INT8' (did you mean int8?)"),
        ("chat --dtype fp16", "not 'fp16' (did you mean float16?)"),
        ("server --tool_call_parser herms", "not 'herms' (did you mean hermes?)"),
        ("chat --json=yes", "--json takes no value"),
        ("download", "OWNER/NAME is missing"),
    ],
)
def test_bad_usage_is_one_sentence(line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.endswith("--help.\n") and err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    "line, says",
    [
        ("chat pyproject.toml.json", "no such folder"),
        ("chat examples/qwen2.py", "examples/qwen2.py is no model's folder: a file that describes a model goes after"),
        ("chat -p https://huggingface.co/Owner/Name/tree/main", "write Owner/Name for the model of that name"),
        ("info http://nowhere", "http://nowhere is an address: write OWNER/NAME."),
        ("info demo -p other", "two models are named"),
        ("info --context 100", "--context is of a model's conversation: name a model."),
        ("download https://huggingface.co/Owner/Name", "write Owner/Name for"),
        ("download demo", "comes with ftllm-nb"),
    ],
)
def test_a_model_named_in_a_wrong_way(
    line: str, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and says in err


@pytest.mark.parametrize("threads", [1, MAX_THREADS])
def test_bounds_are_accepted(threads: int) -> None:
    args = PARSER.parse_args(["chat", "-t", str(threads), "--top_p", "1", "--temperature", "0", "--min_p", "0"])
    assert (args.threads, args.top_p, args.temperature, args.min_p) == (threads, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("line", ["--version", "chat --version", "run --version"])
def test_version(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 0
    assert capsys.readouterr().out == f"ftllm-nb {__version__}\n"


def test_two_models_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["chat", "one", "-p", "two"], ["chat", "-p", ""], ["chat", "-m", " \t"], ["chat", "What is 2 + 2?"]):
        assert main(line) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize("command", PARSER.commands)
def test_help_ends_with_two_examples_that_are_right(command: str) -> None:
    text = PARSER.commands[command].format_help()
    lines = text.rsplit("examples:\n", 1)[1].splitlines()
    assert len(lines) >= 2
    for line in lines:
        (words,) = re.findall(r"ftllm-nb ([^|>)]*)", line)
        args = PARSER.parse_args(shlex.split(words))
        assert args.command == command


def test_help_lists_each_command_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for command in PARSER.commands:
        assert len(re.findall(rf"^  {command} +\w", text, re.MULTILINE)) == 1

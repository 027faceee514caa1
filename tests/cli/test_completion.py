"""Completion scripts, in the shells themselves where they are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest

from ftllm_nb.cli import build_parser, main
from ftllm_nb.cli.parser import CommandParser
from ftllm_nb.cli.shell_scripts import bash, fish, known_values, zsh

PARSER = build_parser()
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


def completed(*words: str) -> list[str]:
    """What bash offers for the last word."""
    script = f'{bash(PARSER)}\nCOMP_WORDS=({" ".join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}\n'
    program = script + '_ftllm_nb\nprintf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_flags_and_values() -> None:
    assert set(completed("ftllm-nb", "")) == {*PARSER.commands, "--help", "--version"}
    assert completed("ftllm-nb", "ch") == ["chat"]
    assert completed("ftllm-nb", "chat", "--temp") == ["--temperature"]
    assert completed("ftllm-nb", "chat", "--engine", "") == ["compiled", "reference"]
    assert completed("ftllm-nb", "chat", "--dtype", "int8") == ["int8", "int8g128", "int8g32", "int8g64"]
    assert "float16" in completed("ftllm-nb", "perplexity", "--dtype", "")
    assert "float16" not in completed("ftllm-nb", "quantize", "--dtype", "")
    assert completed("ftllm-nb", "bench", "--n_g") == ["--n_gen"]
    assert completed("ftllm-nb", "completion", "z") == ["zsh"]
    assert completed("ftllm-nb", "run", "--temp") == ["--temperature"]
    assert completed("ftllm-nb", "chat", "--dtype", "=", "int4g2") == ["int4g256"]
    assert completed("ftllm-nb", "chat", "--enable_thinking", "") == ["true", "false"]
    assert completed("ftllm-nb", "chat", "--enable_thinking", "--hide") == ["--hide_thinking"]
    assert completed("ftllm-nb", "perplexity", "--dtype", "int8,int4g2") == ["int8,int4g256"]
    assert completed("ftllm-nb", "perplexity", "--base", "bf") == ["bfloat16"]
    assert completed("ftllm-nb", "quantize", "--method", "") == ["best", "gptq", "imatrix", "mse", "rtn"]
    assert completed("ftllm-nb", "quantize", "--format", "p") == ["packed"]
    # Nothing is offered for a free value, so that bash completes file names.
    assert completed("ftllm-nb", "chat", "--custom", "x") == []


@pytest.mark.parametrize("script", [zsh(PARSER), fish(PARSER)], ids=["zsh", "fish"])
def test_scripts_of_other_shells_name_everything(script: str) -> None:
    for name, command in PARSER.commands.items():
        assert name in script
        for action in command._actions:
            for spelling in action.option_strings:
                fish_form = f"-l {spelling[2:]} " if spelling.startswith("--") else f"-s {spelling[1:]} "
                assert f"'{spelling}[" in script or f"'{spelling}=[" in script or fish_form in script


FREE = set("FILE FOLDER PATH MODEL OUT TEXT URL KEY ADDRESS SIZE SECONDS N X P K B".split())
NAMED_FREELY = {"--revision", "--model_name", "--allowed_host"}


@pytest.mark.parametrize("name", PARSER.commands)
def test_a_flag_that_takes_some_words_only_knows_them(name: str) -> None:
    """So that shells complete them; a flag of any other kind says by its metavar what it takes."""
    for action in PARSER.commands[name]._actions:
        if action.nargs != 0 and action.option_strings and not NAMED_FREELY.intersection(action.option_strings):
            assert action.metavar in FREE or known_values(action), action.option_strings


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_shells_that_are_installed_accept_their_script(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = {"zsh": zsh, "fish": fish}[shell](PARSER)
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands_flags_and_values(tmp_path: Path) -> None:
    lines = ["ftllm-nb ch", "ftllm-nb chat --temp", "ftllm-nb run --engine ", "ftllm-nb chat --dtype int8g"]
    lines += ["ftllm-nb quantize --method ", "ftllm-nb perplexity --dtype int8,int4g2"]
    lines += ["ftllm-nb perplexity --base bf", "ftllm-nb chat --enable_thinking ", "ftllm-nb chat -t "]
    asked = "; echo; ".join(f"complete -C {shlex.quote(line)}" for line in lines)
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = ["fish", "-c", f"{fish(PARSER)}\n{asked}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    offered = [[line.split("\t")[0] for line in part.splitlines()] for part in done.stdout.split("\n\n")]
    assert offered == [
        ["chat"], ["--temperature"], ["compiled", "reference"], ["int8g32", "int8g64", "int8g128"],
        ["best", "gptq", "imatrix", "mse", "rtn"], ["int8,int4g256"], ["bfloat16"], ["false", "true"], [],
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_commands_flags_and_values(tmp_path: Path) -> None:
    script = tmp_path / "completion.zsh"
    script.write_text(f"autoload -U compinit; compinit -u -D\n{zsh(PARSER)}\n")
    shell = pexpect.spawn("zsh", ["-f", "-i"], encoding="utf-8", timeout=30, env={**os.environ, "TERM": "dumb"})
    shell.send(f"source {script}; echo rea''dy\r")
    shell.expect("ready\r\n")
    typed_and_shown = {
        "ch": "chat ", "chat --temp": "--temperature=", "run --engine c": "compiled ",
        "chat --dtype int8g3": "int8g32 ", "chat --dtype=int8g3": "int8g32 ", "quantize --method m": "mse ",
        "chat --enable_thinking f": "false ", "chat --enable_thinking --hide": "--hide_thinking ",
        "perplexity --dtype int8,int4g2": "int8,int4g256", "perplexity --base bf": "bfloat16 ",
    }  # fmt: skip
    for typed, completed_as in typed_and_shown.items():
        shell.send(f"ftllm-nb {typed}\t")
        shell.expect_exact(completed_as)
        shell.send("\x15")
    shell.close(force=True)


AWKWARD = """It's OpenAI's "API" [beta]: $HOME `x` \\n 100% a\\'b"""


def awkward_parser() -> CommandParser:
    """A command and a flag whose texts hold every mark that a shell reads."""
    parser = CommandParser(prog="ftllm-nb")
    command = parser.add_subparsers(dest="command").add_parser("try", description=AWKWARD.replace(": ", ":"))
    command.add_argument("--odd", help=AWKWARD.replace("%", "%%").replace(": ", ":"), metavar="TEXT")
    command.add_argument("--other", help="x", metavar="TEXT")
    parser.commands["try"] = command
    return parser


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_shows_help_texts_as_they_are(tmp_path: Path) -> None:
    program = f"{fish(awkward_parser())}\ncomplete -C 'ftllm-nb try --o'; complete -C 'ftllm-nb t'"
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(["fish", "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert dict(line.split("\t") for line in done.stdout.splitlines() if line.startswith(("--odd", "try"))) == {
        "--odd": AWKWARD.replace(": ", ":"), "try": AWKWARD.replace(": ", ":")
    }  # fmt: skip
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_shows_help_texts_as_they_are(tmp_path: Path) -> None:
    script = tmp_path / "completion.zsh"
    script.write_text(f"autoload -U compinit; compinit -u -D\n{zsh(awkward_parser())}\n")
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "200"}
    shell = pexpect.spawn("zsh", ["-f", "-i"], encoding="utf-8", timeout=30, env=environment, dimensions=(30, 200))
    shell.send(f"source {script}; echo rea''dy\r")
    shell.expect("ready\r\n")
    shell.send("ftllm-nb try --o\t\t")
    shell.expect_exact("--odd")
    shell.expect_exact(AWKWARD.replace(": ", ":"))
    shell.close(force=True)


@pytest.mark.skipif(not BASH_COMPLETION.is_file(), reason="bash-completion is not installed")
def test_bash_completes_on_a_terminal_with_bash_completion(tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(f"source {BASH_COMPLETION}\n{bash(PARSER)}\n")
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], encoding="utf-8", timeout=30, env={**os.environ, "TERM": "dumb"}
    )
    shell.send(f"source {script}; echo rea''dy\r")
    shell.expect("ready\r\n")
    typed_and_shown = {"cha": "chat ", "chat --temp": "--temperature ", "chat --dtype int4g2": "int4g256 "}
    typed_and_shown |= {"chat --dtype=int4g2": "int4g256 ", "perplexity --dtype int8,int4g2": "int8,int4g256"}
    for typed, completed_as in typed_and_shown.items():
        shell.send(f"ftllm-nb {typed}\t")
        shell.expect_exact(completed_as)
        shell.send("\x15")
    shell.close(force=True)


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out == bash(PARSER) + "\n"
    assert main(["completion", "tcsh"]) == 2

"""Chat without a terminal: lines in, answers out, exit status; through real pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.forking.programs import program, python

CHAT = "tests.cli.scripted_chat"


def chat(*flags: str, text: str | bytes = b"", **options: Any) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a chat with this input."""
    data = text.encode() if isinstance(text, str) else text
    done = subprocess.run(program(CHAT, *flags), input=data, capture_output=True, timeout=60, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@contextmanager
def asked(line: bytes, answer: bytes) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]]:
    """A chat that was asked a line and began its answer so; its stdout and stderr. More input may come."""
    with subprocess.Popen(
        program(CHAT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.read(len(answer)) == answer
        yield process, process.stdout, process.stderr


def test_each_line_is_a_turn() -> None:
    assert chat(text="hello\n\n \t\nworld\r\nlast") == (0, "1 hello\n3 world\n5 last\n", "")


def test_no_input_is_no_answer() -> None:
    assert chat() == (0, "", "")


def test_words_of_the_terminal_are_messages_here() -> None:
    assert chat(text="clear\nstop\nmore\n") == (0, "1 clear\n3 stop\n5 more\n", "")


def test_wrong_bytes_and_marks_are_read_leniently() -> None:
    assert chat(text=b"\xef\xbb\xbfcaf\xe9 \xe4\xbd\xa0\n\xff\n") == (0, "1 caf\ufffd 你\n3 \ufffd\n", "")


def test_what_is_no_utf8_is_in_the_locale_s_encoding() -> None:
    """As older systems and other programs of theirs send it; UTF-8 is known as that also there."""
    latin = {**os.environ, "PYTHONIOENCODING": "latin-1:replace"}
    text = "caf\xe9\n".encode("latin-1") + "d\xe9j\xe0 \u4f60\n".encode()
    done = subprocess.run(python(CHAT, "--json"), input=text, capture_output=True, timeout=60, env=latin)
    questions = [json.loads(line)["question"] for line in done.stdout.decode("latin-1").splitlines()]
    assert questions == ["caf\xe9", "d\xe9j\xe0 ?"]
    done = subprocess.run(
        python(CHAT, "--json", "--file", "-"), input=text[:5], capture_output=True, timeout=60, env=latin
    )
    assert json.loads(done.stdout.decode("latin-1"))["question"] == "caf\xe9"


def test_an_answer_reaches_pipes_as_it_is() -> None:
    assert chat("-m", "control") == (0, "a\x1b[2Jb\n\tc\n", "")


def test_one_message() -> None:
    assert chat("-m", "hello", text="not read\n") == (0, "1 hello\n", "")


def test_flags_reach_the_model() -> None:
    flags = ["--temperature=0", "--top-p=0.5", "--top_k=3", "--min-p=0.1", "--repeat-penalty=1.2", "--seed=7"]
    status, out, err = chat(*flags, "--max-tokens=9", text="options\n")
    assert (status, err) == (0, "")
    expected = {
        "max_length": 9,
        "min_p": 0.1,
        "repeat_penalty": 1.2,
        "seed": 7,
        "temperature": 0.0,
        "top_k": 3,
        "top_p": 0.5,
    }
    assert out == f"{sorted(expected.items())}\n"
    assert chat(text="options\n") == (0, "[]\n", "")


def test_warnings_go_to_stderr() -> None:
    assert chat("--atype", "float16", text="a\n") == (0, "1 a\n", "warning: intermediates stay float32.\n")


def test_a_prompt_that_is_too_long_ends_with_a_sentence() -> None:
    status, out, err = chat(text="fine\n" + "x" * 101 + "\nnever\n")
    assert (status, out) == (2, "1 fine\n")
    assert err == "error: line 2 of the input: The prompt has 101 tokens, but the context holds 100.\n"


def test_debug_shows_the_traceback_before_the_sentence() -> None:
    status, out, err = chat("--debug", "-p", "nowhere")
    assert (status, out) == (2, "")
    assert err.startswith("Traceback") and err.endswith("error: nowhere: no such folder.\n")


def test_errors_cannot_steer_the_terminal() -> None:
    assert chat("-p", "a\x1b[2J\nb  c") == (2, "", "error: a\\x1b[2J b  c: no such folder.\n")


def test_a_line_without_end_is_refused() -> None:
    status, out, err = chat(text=b"x" * (1 << 24))
    assert (status, out) == (2, "")
    assert err == "error: line 1 of the input is longer than 16 MiB: write shorter lines.\n"


def test_characters_that_the_output_lacks_are_replaced() -> None:
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(python(CHAT, "-m", "né"), capture_output=True, timeout=60, env=ascii_only)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1 n?\n", b"")


def test_each_answer_is_written_before_the_next_line_is_read() -> None:
    with subprocess.Popen(program(CHAT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None
        for turn, word in enumerate(("one", "two")):
            process.stdin.write(word.encode() + b"\n")
            expected = f"{2 * turn + 1} {word}\n".encode()
            answer = b""
            while len(answer) < len(expected):
                answer += process.stdout.read(1)
            assert answer == expected
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_reader_that_leaves_ends_the_chat_quietly() -> None:
    with asked(b"count\n", answer=b"0 1 ") as (process, out, err):
        out.close()
        assert process.wait(30) == 0
        assert err.read() == b""


def test_a_full_disk_is_reported() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(program(CHAT, "-m", "a"), stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b"error: the operating system refused: No space left on device.\n"


@pytest.mark.parametrize(
    "closed, begin", [("<&-", program), (">&-", program), ("2>&-", program), ("<&- >&- 2>&-", python)]
)
def test_closed_streams_do_no_harm(closed: str, begin: Callable[..., list[str]]) -> None:
    done = subprocess.run(
        ["sh", "-c", f'echo a | {{ exec "$@" {closed}; }}', "sh", *begin(CHAT)], capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout == (b"1 a\n" if closed == "2>&-" else b"")
    assert done.stderr == b""


def test_ctrl_c_ends_the_answer_and_the_program() -> None:
    with subprocess.Popen(
        program(CHAT, "-m", "count"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(4) == b"0 1 "
        started = time.perf_counter()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert time.perf_counter() - started < 20
        assert process.stdout.read().endswith(b"\n")
        assert process.stderr.read() == b""


def test_ctrl_c_while_waiting_for_input() -> None:
    with asked(b"a\n", answer=b"1 a\n") as (process, _, err):
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert err.read() == b""


@pytest.mark.slow
def test_a_file_is_one_question(tmp_path: Path) -> None:
    file = tmp_path / "question.txt"
    file.write_bytes(b"\xef\xbb\xbftwo\r\nlines\r\n\r\n")
    assert chat("--file", str(file), text="not read\n") == (0, "1 two\nlines\n", "")
    assert chat("-m", "What is this?", "--file", str(file)) == (0, "1 What is this?\n\ntwo\nlines\n", "")
    assert chat("--file", "-", text="whole\ninput\n") == (0, "1 whole\ninput\n", "")


@pytest.mark.parametrize(
    "path, says",
    [
        ("/no/such/file", "cannot be read: No such file"),
        ("/", "cannot be read: Is a directory"),
        ("/dev/null", "holds no text"),
        ("/dev/zero", "longer than 16 MiB"),
        ("/bin/sh", "the file /bin/sh of --file is no text but a binary file"),
    ],
)
def test_a_file_that_holds_no_question(path: str, says: str) -> None:
    status, out, err = chat("--file", path)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and says in err and err.count("\n") == 1


def test_json_is_a_line_an_answer_with_its_times() -> None:
    status, out, err = chat("--json", text="one\ntwo \"2\" 你\n")
    assert (status, err) == (0, "")
    first, second = map(json.loads, out.splitlines())
    assert (first["question"], first["answer"], first["finish_reason"]) == ("one", "1 one", "stop")
    assert second["answer"] == '3 two "2" 你'
    assert (second["prompt_tokens"], second["reused_tokens"]) == (17, 8)
    times = ("prefill_tokens_per_second", "decode_tokens_per_second", "time_to_first_token", "seconds")
    assert all(isinstance(second[name], float) for name in times)
    assert chat("--json", "-m", "a")[1].count("\n") == 1


def test_an_answer_that_was_stopped_before_its_first_word_has_no_numbers_of_another() -> None:
    process = subprocess.Popen(program(CHAT, "--json"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"one\nslow\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["prompt_tokens"] == 3
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert json.loads(process.stdout.readline()) == {"question": "slow", "answer": "", "finish_reason": "stopped"}
        assert process.wait(30) == 130


@pytest.mark.slow
def test_thinking_can_be_left_out() -> None:
    assert chat(text="think\n") == (0, "<think>hm</think>\n\nso\n", "")
    assert chat("--hide_thinking", text="think\nplain\n") == (0, "so\n3 plain\n", "")
    assert json.loads(chat("--hide-thinking", "--json", text="think\n")[1])["answer"] == "so"


def test_whether_to_think_reaches_the_template() -> None:
    assert "('enable_thinking', True)" in chat("--enable_thinking", "-m", "options")[1]
    assert "('enable_thinking', False)" in chat("--enable_thinking", "false", "-m", "options")[1]


def test_a_template_without_a_switch_for_thinking_says_so() -> None:
    status, out, err = chat("--enable_thinking", "-m", "a", env={**os.environ, "SCRIPTED_TEMPLATE": "{{ messages }}"})
    assert (status, out) == (0, "1 a\n")
    assert err.startswith("warning: the model has no chat template that switches thinking") and err.count("\n") == 1


def test_without_a_conversation_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    empty = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    status, out, err = chat("--continue", "-m", "a", env=empty)
    assert (status, out) == (2, "") and "leave out --continue" in err

"""Print how long starting takes and what a terminal session costs.

    --help, the prompt and the first token from a warm cache, the very first start; a second turn's time to first
    token by the length of the history; the time per token in a session beside that of `ftllm-nb bench`; CPU time at
    the prompt.

Usage: python bench/startup.py [-t THREADS] [--repetitions 5] [--cold 1] [--parts starts turns tokens idle]
       python bench/startup.py -p MODEL [-t THREADS] [--repetitions 5]

With -p, only the first token of that model: its file and its kernels are read once before.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pty
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from one_sentence import one_sentence
from safetensors.numpy import save_file

import ftllm_nb
from ftllm_nb import llm
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.cli.talk.conversation import Conversation, Turn

COMMAND = [sys.executable, "-m", "ftllm_nb"]
FIRST_TOKEN = ["chat", "--temperature", "0", "--max_tokens", "1", "-m", "What is 17 + 25?"]
DEMO = Path(ftllm_nb.__file__).parent / "demo"
PROMPT_IS_READY = b"\x1b[?2004h"
"""What the prompt writes when it begins to read."""
HISTORY_TOKENS = 2000
ANSWER_TOKENS = 256
PAIRS = 4
"""Of a bench and a session, for each repetition."""
IDLE_SECONDS = 10.0
RANDOM_MODEL = "a random model of 120 million parameters"
LARGER = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 8, "num_attention_heads": 14}
FOUR_LAYERS = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 4, "num_attention_heads": 16}
"""Four layers of the shape of Qwen2.5-3B."""


def main() -> None:
    """Start fresh processes and time them; medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    parser.add_argument("--repetitions", type=whole_number(1), default=5, help="warm starts of each kind (default: 5)")
    parser.add_argument("--cold", type=whole_number(1), default=1, help="starts with an empty cache (default: 1)")
    parts = {"starts": show_starts, "turns": show_second_turn, "tokens": show_time_per_token, "idle": show_idle}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts), help="what to measure (default: all)")
    parser.add_argument("-p", "--path", metavar="MODEL", help="the first token of this model alone")
    arguments = parser.parse_args()
    if arguments.path is not None:
        first_token = [*FIRST_TOKEN, "-p", arguments.path, "-t", str(arguments.threads)]
        seconds_to_output(first_token)
        warm = [seconds_to_output(first_token) for _ in range(arguments.repetitions)]
        show(f"from the start to the first token of {arguments.path}, file and kernels cached", warm)
        return
    with tempfile.TemporaryDirectory() as folder:
        for part in arguments.parts:
            parts[part](arguments, Path(folder))


def show_starts(arguments: argparse.Namespace, folder: Path) -> None:
    """--help, the prompt, the first token after it, and starts from -m; at last those with an empty cache."""
    first_token = [*FIRST_TOKEN, "-t", str(arguments.threads)]
    cache = str(folder / "kernels")
    seconds_to_output(first_token, cache)
    helps = [seconds_to_output(["--help"], cache) for _ in range(arguments.repetitions)]
    show("--help", helps)
    prompts, firsts = [], []
    for _ in range(arguments.repetitions):
        started = time.perf_counter()
        with session("demo", arguments.threads, folder) as terminal:
            prompts.append(time.perf_counter() - started)
            firsts.append(terminal.seconds_to_answer("What is 17 + 25?", b"4"))
    show("from the start to the prompt on the demo, kernels cached", prompts)
    show("from Enter to the first token of the first answer", firsts)
    warm = [seconds_to_output(first_token, cache) for _ in range(arguments.repetitions)]
    show("from the start to the first token with -m", warm)
    cold = []
    for number in range(arguments.cold):
        cold.append(seconds_to_output(first_token, str(folder / f"empty{number}")))
    if cold:
        show("first start ever, to the first token", cold)


def show_second_turn(arguments: argparse.Namespace, folder: Path) -> None:
    """Time to first token of a turn, after a short and after a long history that the cache holds.

    Each new token is compared with the whole history, by as many multiply-adds as keys and values have numbers. Beside
    a model's weights they are few, but beside those of the demo they are many.
    """
    length = {"max_position_embeddings": 4096}
    layers = changed_demo(folder / "long layers", {**FOUR_LAYERS, **length}, {})
    write_random_weights(layers)
    for what, model_folder in (
        ("the demo", changed_demo(folder / "long", length, {})), ("4 layers of Qwen2.5-3B's shape", layers)
    ):  # fmt: skip
        with llm.model(model_folder, threads=arguments.threads) as model:
            conversation = Conversation(model, settings={"temperature": 0.0, "max_tokens": 4})
            short = [next_turn(conversation, []) for _ in range(1 + arguments.repetitions)][1:]
            turn = Turn("What is 17 + 25?", "It is 42, as 17 + 25 is 42. " * 8)
            history: list[Turn] = []
            while history_tokens(conversation, history) < HISTORY_TOKENS:
                history = [*history, turn]
            long = [next_turn(conversation, history) for _ in range(1 + arguments.repetitions)][1:]
            tokens = history_tokens(conversation, history)
            more = history_multiply_adds(model.config, tokens)
        show(f"time to first token after one turn, {what}", short, "ms")
        show(f"time to first token after {len(history)} turns of {tokens} tokens, {what}", long, "ms")
        ratio = statistics.median(long) / statistics.median(short)
        print(f"{ratio:10.2f}  the ratio of the two; of their multiply-adds {1 + more:.2f}", flush=True)


def history_multiply_adds(config: dict[str, Any], tokens: int) -> float:
    """A token's multiply-adds with so many earlier ones, as a share of those with the weights of the layers."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    keys = width // config["num_attention_heads"] * config["num_key_value_heads"]
    return 2 * tokens * width / (width * (2 * width + 2 * keys + 3 * inner))


def history_tokens(conversation: Conversation, history: list[Turn]) -> int:
    """Tokens of a history's prompt."""
    conversation.turns = history
    return conversation.model.get_input_token_len(conversation.messages) if history else 0


def next_turn(conversation: Conversation, history: list[Turn]) -> float:
    """Seconds to the first token of the turn after `history` and one more turn, which both are in the cache."""
    conversation.turns = list(history)
    list(conversation.ask("What is 30 - 12?"))
    list(conversation.ask("My name is Alice."))
    statistics = conversation.turns[-1].statistics
    assert statistics is not None
    return statistics.time_to_first_token


def show_time_per_token(arguments: argparse.Namespace, folder: Path) -> None:
    """A session's seconds per token beside those of `ftllm-nb bench`, in pairs of new processes.

    With as many threads as cores, the model, the session and whoever reads the terminal share them. Where a process
    finds its memory makes it a few per cent faster or slower, so that it takes many processes to see less.
    """
    lengths = {"min_new_tokens": ANSWER_TOKENS, "max_new_tokens": ANSWER_TOKENS}
    larger = changed_demo(folder / "larger", LARGER, lengths)
    write_random_weights(larger)
    bench, talk = [], []
    for _ in range(PAIRS * arguments.repetitions):
        bench.append(bench_seconds_per_token(larger, arguments.threads))
        with session(str(larger), arguments.threads, folder) as terminal:
            talk.append(terminal.seconds_per_token())
    show(f"per token, ftllm-nb bench, {RANDOM_MODEL}", bench, "ms")
    show(f"per token, a terminal session, {RANDOM_MODEL}", talk, "ms")
    added = [of_session / of_bench - 1 for of_session, of_bench in zip(talk, bench, strict=True)]
    error = statistics.stdev(added) / math.sqrt(len(added))
    print(f"{statistics.median(added):9.1%} ± {error:.1%}  what the session adds, median of the pairs", flush=True)


def show_idle(arguments: argparse.Namespace, folder: Path) -> None:
    """CPU time of all threads at the prompt, after an answer."""
    with session("demo", arguments.threads, folder) as terminal:
        terminal.seconds_to_answer("What is 17 + 25?", b"4")
        time.sleep(1.0)
        before = cpu_seconds(terminal.process.pid)
        time.sleep(IDLE_SECONDS)
        used = cpu_seconds(terminal.process.pid) - before
    print(f"{used * 1e3:7.2f} ms  CPU time in {IDLE_SECONDS:.0f} s at the prompt", flush=True)


class Terminal:
    """A session on a pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor

    def read_until(self, text: bytes) -> bytes:
        """What is printed up to and with a text; exits where nothing comes for a minute."""
        seen = b""
        while text not in seen:
            if not select.select([self._descriptor], [], [], 60)[0]:
                sys.exit(f"error: a session was silent for a minute, after {seen[-200:]!r}")
            seen += os.read(self._descriptor, 1 << 16)
        return seen

    def seconds_to_answer(self, question: str, first: bytes) -> float:
        """From Enter to the answer's first byte; waits for the next prompt."""
        os.write(self._descriptor, question.encode())
        time.sleep(0.3)  # the question is typed and shown
        while select.select([self._descriptor], [], [], 0)[0]:
            os.read(self._descriptor, 1 << 16)
        started = time.perf_counter()
        os.write(self._descriptor, b"\r")
        self.read_until(b"\x1b[?2004l")
        seen = self.read_until(first)
        seconds = time.perf_counter() - started
        if PROMPT_IS_READY not in seen:
            self.read_until(PROMPT_IS_READY)
        return seconds

    def seconds_per_token(self) -> float:
        """Of an answer of ANSWER_TOKENS tokens: from its first piece to its end, as they appear."""
        os.write(self._descriptor, b"What is 17 + 25?\r")
        self.read_until(b"\x1b[?2004l")
        seen = b""
        times: list[float] = []
        while PROMPT_IS_READY not in seen:
            piece = os.read(self._descriptor, 1 << 16)
            # The answer ends with a line end, and the prompt begins with an escape sequence.
            if (times or piece.strip()) and b"\x1b" not in seen + piece:
                times.append(time.perf_counter())
            seen += piece
        seconds = (times[-1] - times[0]) / (ANSWER_TOKENS - 1)
        os.write(self._descriptor, b"/clear\r")
        if PROMPT_IS_READY not in self.read_until(b"forgotten").partition(b"forgotten")[2]:
            self.read_until(PROMPT_IS_READY)
        return seconds


@contextmanager
def session(model: str, threads: int, folder: Path) -> Iterator[Terminal]:
    """`ftllm-nb chat` on a pseudo-terminal, at its first prompt."""
    master, slave = pty.openpty()
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "NO_COLOR": "1",
        "XDG_STATE_HOME": str(folder / "state"),
        "FTLLM_NB_CACHE_DIR": str(folder / "kernels"),
    }
    command = [*COMMAND, "chat", "-p", model, "-t", str(threads), "--temperature", "0"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True)
    os.close(slave)
    try:
        terminal = Terminal(process, master)
        terminal.read_until(PROMPT_IS_READY)
        yield terminal
    finally:
        process.kill()
        process.wait()
        os.close(master)


def changed_demo(folder: Path, config: dict[str, Any], generation_config: dict[str, Any]) -> Path:
    """A copy of the demo model's folder with changed entries of its configuration."""
    shutil.copytree(DEMO, folder)
    for name, changes in (("config.json", config), ("generation_config.json", generation_config)):
        value = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**value, **changes}), encoding="utf-8")
    return folder


def write_random_weights(folder: Path) -> None:
    """Random float16 weights of the shapes that the folder's configuration asks for."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    random = np.random.default_rng(0)
    width, inner = config["hidden_size"], config["intermediate_size"]
    keys = width // config["num_attention_heads"] * config["num_key_value_heads"]
    tensors = {"model.embed_tokens.weight": (config["vocab_size"], width), "model.norm.weight": (width,)}
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        tensors |= {f"{name}.{norm}_layernorm.weight": (width,) for norm in ("input", "post_attention")}
        for which, rows in (("q", width), ("k", keys), ("v", keys)):
            tensors |= {f"{name}.self_attn.{which}_proj.weight": (rows, width)}
            tensors |= {f"{name}.self_attn.{which}_proj.bias": (rows,)}
        tensors |= {f"{name}.self_attn.o_proj.weight": (width, width), f"{name}.mlp.down_proj.weight": (width, inner)}
        tensors |= {f"{name}.mlp.{which}_proj.weight": (inner, width) for which in ("gate", "up")}
    arrays = {
        name: (random.standard_normal(shape, np.float32) * 0.02).astype(np.float16) for name, shape in tensors.items()
    }
    save_file(arrays, folder / "model.safetensors")


def bench_seconds_per_token(model: Path, threads: int) -> float:
    """What `ftllm-nb bench` measures for decoding as many tokens."""
    flags = ["-p", "0", "-n", str(ANSWER_TOKENS), "-r", "1", "--json", "-t", str(threads)]
    done = subprocess.run([*COMMAND, "bench", str(model), *flags], capture_output=True, check=True)
    return 1 / float(json.loads(done.stdout)["results"][0]["tokens_per_s"])


def cpu_seconds(process_id: int) -> float:
    """CPU time of all threads of a process so far."""
    threads = Path(f"/proc/{process_id}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def seconds_to_output(arguments: list[str], cache: str | None = None) -> float:
    """Seconds from starting the process to the first byte that it prints; `cache`: its kernels' folder, if not the
    usual one."""
    environment = dict(os.environ) if cache is None else {**os.environ, "FTLLM_NB_CACHE_DIR": cache}
    started = time.perf_counter()
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - started
        process.stdout.read()
    if not first or process.returncode != 0:
        sys.exit(f"error: {' '.join(arguments)} ended with status {process.returncode} and printed nothing")
    return seconds


def show(what: str, seconds: list[float], unit: str = "s") -> None:
    """One line: the median, and the fastest and slowest of how many."""
    factor = {"s": 1.0, "ms": 1e3}[unit]
    low, middle, high = (each * factor for each in (min(seconds), statistics.median(seconds), max(seconds)))
    print(f"{middle:7.2f} {unit:2}  {what} ({low:.2f} to {high:.2f}, {len(seconds)} times)", flush=True)


if __name__ == "__main__":
    with one_sentence():
        main()

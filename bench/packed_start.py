"""Print how long a start takes, from the command to the first token of a 16-token prompt, by what the folder holds.

Usage: python bench/packed_start.py [--config CONFIG.json] [--dtype int4g32] [-t THREADS] [-r 5] [--folder FOLDER]

The model is random, of the shape of a config.json (default: Qwen2.5-1.5B), with a made-up tokenizer of as many tokens,
since reading that takes its share. The folders: packed, and compressed_tensors, which is repacked while it loads. Each
start is a process of its own, of `ftllm-nb chat -m`; files are in the page cache, kernels in theirs.

Then, for the packed file, what the alternative would give: seconds to map it and to read it into large pages, and how
fast one core sums it up afterwards.
"""

from __future__ import annotations

import argparse
import datetime
import json
import mmap
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from one_sentence import one_sentence

import ftllm_nb
from ftllm_nb.benchmark.cpu_name import cpu_name
from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.checkpoint.config import read_json_object
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.memory import Slabs
from ftllm_nb.quantization.formats import output_format
from ftllm_nb.quantization.options import QuantizeOptions
from ftllm_nb.tokenizer import load_tokenizer

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-1.5b.json"
DEMO = Path(ftllm_nb.__file__).parent / "demo"
FORMATS = ("packed", "compressed_tensors")
PROMPT_TOKENS = 16
PIECE = 8 << 20
"""Bytes that a thread reads at a time."""


def main() -> None:
    """Make the folders, then start from each in turn; medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(CONFIG), help="a config.json (default: Qwen2.5-1.5B's)")
    parser.add_argument("--dtype", default="int4g32", help="type of the weights (default: int4g32)")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    parser.add_argument("-r", "--repetitions", type=whole_number(1), default=5, help="starts of each kind (default: 5)")
    parser.add_argument("--folder", help="where the folders lie for the time being (default: the system's place)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        model = Path(place) / "model"
        text = write_model_without_weights(model, Path(arguments.config))
        folders = {name: quantized(model, arguments, name) for name in FORMATS}
        seconds: dict[str, list[float]] = {name: [] for name in FORMATS}
        for repetition in range(1 + arguments.repetitions):
            for name, folder in folders.items():
                took = seconds_to_first_token(folder, text, arguments.threads)
                if repetition > 0:  # the first compiles what is not cached
                    seconds[name].append(took)
        print(f"{cpu_name()}, {arguments.threads} threads, {datetime.date.today()}")
        print(f"{Path(arguments.config).stem}, {arguments.dtype}, random; a prompt of {PROMPT_TOKENS} tokens\n")
        print("| folder             | GB on disk | seconds to the first token | fastest | slowest |")
        print("|--------------------|-----------:|---------------------------:|--------:|--------:|")
        for name, folder in folders.items():
            size = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
            times = seconds[name]
            spread = f"{statistics.median(times):26.2f} | {min(times):7.2f} | {max(times):7.2f}"
            print(f"| {name:18} | {size:10.2f} | {spread} |")
        print()
        show_mapped_and_read(folders["packed"] / "model.safetensors", arguments.threads)


def show_mapped_and_read(file: Path, threads: int) -> None:
    """Seconds until a file's bytes can be used, and GB/s at which one core then reads them, mapped and read."""
    size = file.stat().st_size // 8 * 8
    with open(file, "rb") as opened, ThreadPoolExecutor(threads) as readers:
        started = time.perf_counter()
        mapping = mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ)
        mapped = np.frombuffer(mapping, np.uint8)
        list(readers.map(lambda start: mapped[start : start + PIECE : 4096].max(), range(0, size, PIECE)))
        after_mapping = time.perf_counter()
        read = Slabs().take(size)
        pieces = [(start, read[start : start + PIECE]) for start in range(0, size, PIECE)]
        list(readers.map(lambda piece: os.preadv(opened.fileno(), [piece[1]], piece[0]), pieces))
        after_reading = time.perf_counter()
        for name, seconds, memory in (
            ("mapped", after_mapping - started, mapped),
            ("read into large pages", after_reading - after_mapping, read),
        ):
            best = min(timeit.repeat(memory.view(np.int64).sum, number=1, repeat=5))
            print(f"{name}: {seconds:.3f} s, then {size / best / 1e9:.1f} GB/s")


def write_model_without_weights(folder: Path, config: Path) -> str:
    """config.json and a tokenizer of its vocabulary; a message whose prompt has 16 tokens."""
    shutil.copytree(DEMO, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copyfile(config, folder / "config.json")
    values = read_json_object(config)
    tokenizer = json.loads((DEMO / "tokenizer.json").read_text(encoding="utf-8"))
    grow(tokenizer["model"], values["vocab_size"])
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    loaded = load_tokenizer(folder, read_json_object(folder / "tokenizer_config.json"), values)
    around = len(loaded.apply_chat_template([{"role": "user", "content": ""}]))
    return "7" * (PROMPT_TOKENS - around)  # a digit is a token


def grow(model: dict[str, dict[str, int] | list[list[str]]], size: int) -> None:
    """Add merges of tokens chosen by chance until the vocabulary has `size` tokens."""
    chance = random.Random(0)
    vocabulary, merges = model["vocab"], model["merges"]
    assert isinstance(vocabulary, dict) and isinstance(merges, list)
    parts = [token for token in vocabulary if token.isalpha() and len(token) < 6]
    while len(vocabulary) < size:
        pair = [chance.choice(parts), chance.choice(parts)]
        joined = "".join(pair)
        if joined not in vocabulary and len(joined) < 12:
            vocabulary[joined] = len(vocabulary)
            merges.append(pair)
            if len(joined) < 6:
                parts.append(joined)


def quantized(model: Path, arguments: argparse.Namespace, form: str) -> Path:
    """A folder of that form, made from random weights that nobody wrote down."""
    folder = model.with_name(form)
    with open_weights(Settings(random=True, random_config=arguments.config)) as weights:
        weights.path = model
        options = QuantizeOptions(arguments.dtype, "rtn", format=form)
        job = output_format(form).job(weights, options)
        job.write(folder, arguments.threads, resume=False, replace=False)
    return folder


def seconds_to_first_token(folder: Path, text: str, threads: int) -> float:
    """From starting the process to its only line, which it prints after one token."""
    command = [sys.executable, "-m", "ftllm_nb", "chat", "-p", str(folder), "-t", str(threads), "-m", text]
    command += ["--json", "--max_tokens", "1", "--temperature", "0"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
    answer = json.loads(line or "{}")
    if process.returncode != 0 or answer.get("prompt_tokens") != PROMPT_TOKENS:
        sys.exit(f"error: {' '.join(command)} ended with status {process.returncode} and printed {line!r}")
    return seconds


if __name__ == "__main__":
    with one_sentence():
        main()

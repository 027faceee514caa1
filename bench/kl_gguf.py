"""Print how far ftllm-nb and llama.cpp are from what the weights of a GGUF file stand for.

Usage: python bench/kl_gguf.py FILE… --text TEXT [--tokens 2000] [--window 512] [-t 2]

Both round what products read to 8 bits. The base is the reference engine, which computes in float32 with the numbers
that the file's blocks stand for. All read the same windows of a text: KL divergence of their next-token distributions
from the base's, in nats, at every token, its standard error, and how often both find the same token likeliest. Keys
and values are float16 in both engines, and float32 in the base. `make peers` builds an environment that has llama.cpp:
run this with its Python.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from engines import llama, ours
from one_sentence import one_sentence
from subject import Subject, gguf_types

from ftllm_nb.benchmark.fidelity import divergence, log_softmax, summary
from ftllm_nb.checkpoint.gguf.file import read_gguf
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.errors import UsageError
from ftllm_nb.tokenizer.gguf import load_gguf_tokenizer
from ftllm_nb.tokenizer.text_file import read_text

CHUNK_TOKENS = 64
"""Of a step: the logits of all of them are in memory at once."""
BASE = "the base"


def main() -> None:
    """A table a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--text", required=True, help="a file of text, UTF-8")
    parser.add_argument("--tokens", type=whole_number(2), default=2000, help="so many of its tokens (default: 2000)")
    parser.add_argument("--window", type=whole_number(2), default=512, help="tokens of a window (default: 512)")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    arguments = parser.parse_args()
    for file in arguments.files:
        ids = tokens_of(file, arguments.text, arguments.tokens)
        what = f"{len(ids)} tokens in windows of {arguments.window}"
        print(f"{Path(file).name}, {gguf_types(file)}; {what}\n", flush=True)
        print_table(file, ids, arguments.window, arguments.threads)


def tokens_of(file: str, text: str, count: int) -> np.ndarray:
    """The first tokens of a text, as the file's own tokenizer has them."""
    with closing(read_gguf(file)) as model:
        tokenizer = load_gguf_tokenizer(model.metadata, file)
    ids = np.array(tokenizer.encode_completion(read_text(text)), np.int32)
    if len(ids) < count:
        raise UsageError(f"the text {text} has {len(ids)} tokens, less than --tokens {count}.")
    return ids[:count]


def print_table(file: str, ids: np.ndarray, window: int, threads: int) -> None:
    """Read all windows with all engines, step by step."""
    subject = Subject(gguf=file)
    engines = {
        BASE: ours.Engine(subject, threads, Path(), engine="reference", kv_cache_dtype="float32"),
        "ftllm-nb": ours.Engine(subject, threads, Path()),
        "llama.cpp": llama.Engine(subject, threads, Path()),
    }
    divergences: dict[str, list[np.ndarray]] = {name: [] for name in engines}
    alike: dict[str, list[np.ndarray]] = {name: [] for name in engines}
    likelihoods: dict[str, list[np.ndarray]] = {name: [] for name in engines}
    for chunk, following in chunks(ids, window, list(engines.values())):
        base = None
        for name, engine in engines.items():
            logits = engine.all_logits(chunk)[:, : engines[BASE].vocab_size]
            log_q = log_softmax(logits)
            base = log_q if base is None else base
            divergences[name].append(divergence(base, log_q))
            alike[name].append(base.argmax(-1) == log_q.argmax(-1))
            likelihoods[name].append(log_q[np.arange(len(following)), following])
    print("| engine | mean KL | ± | 99% | largest | same likeliest | perplexity |")
    print("| ------ | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in engines:
        found = summary(divergences[name], np.concatenate(alike[name]))
        perplexity = math.exp(-np.concatenate(likelihoods[name]).mean())
        print(
            f"| {name} | {found.mean:.6f} | {found.standard_error:.6f} | {found.percentile_99:.5f} "
            f"| {found.largest:.4f} | {found.top_1_agreement:.2%} | {perplexity:.4f} |"
        )
    ratio = np.concatenate(divergences["ftllm-nb"]).mean() / np.concatenate(divergences["llama.cpp"]).mean()
    print(f"\nftllm-nb's mean KL is {ratio:.3f} of llama.cpp's\n", flush=True)


def chunks(ids: np.ndarray, window: int, engines: list) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tokens to read, and those that follow them; before each window the engines forget what they read."""
    for begin in range(0, len(ids) - 1, window):
        for engine in engines:
            engine.clear()
        read = ids[begin : begin + window + 1]
        for at in range(0, len(read) - 1, CHUNK_TOKENS):
            end = min(at + CHUNK_TOKENS, len(read) - 1)
            yield read[at:end], read[at + 1 : end + 1]


if __name__ == "__main__":
    with one_sentence():
        main()

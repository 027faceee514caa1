"""Prefill of the same random configuration by transformers on PyTorch and by ftllm-nb, in turn.

Usage: python bench/peer_transformers.py [--config CONFIG.json] [-t THREADS] [-p 512] [-r 5]

In bfloat16 both round what products read to bfloat16 (`--atype bfloat16`); transformers rounds all else as well.
Needs torch and transformers, which ftllm-nb itself does not. The ratios are medians over rounds in which
everybody had one turn: a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from one_sentence import one_sentence

from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.benchmark.speed_test import time_steps
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.loading import describe, open_executor

DTYPES = ("bfloat16", "float32")
CONFIG = Path(__file__).parent / "configs" / "qwen2.5-0.5b.json"
PAUSE_SECONDS = 0.3
"""Between two turns: threads of the one that is done spin for a while before they sleep."""


def main() -> None:
    """Take turns, then print tokens a second and how many times as fast ftllm-nb is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(CONFIG), help="a config.json (default: Qwen2.5-0.5B's)")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    parser.add_argument("-p", "--n_prompt", type=whole_number(1), default=512,
                        help="tokens of the prompt (default: 512)")  # fmt: skip
    parser.add_argument("-r", "--repetitions", type=whole_number(1), default=5, help="rounds (default: 5)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    runners = {}
    for dtype in DTYPES:
        runners["transformers", dtype] = transformers_runner(arguments.config, dtype)
        runners["ftllm-nb", dtype] = own_runner(arguments.config, dtype, arguments.threads)
    vocab_size = json.loads(Path(arguments.config).read_text())["vocab_size"]
    prompt = np.random.default_rng(0).integers(0, vocab_size, arguments.n_prompt, np.int32)
    for run in runners.values():
        run(prompt)
    seconds: dict[tuple[str, str], list[float]] = {runner: [] for runner in runners}
    for _ in range(arguments.repetitions):
        for runner, run in runners.items():
            time.sleep(PAUSE_SECONDS)
            seconds[runner].append(run(prompt))

    print(f"{Path(arguments.config).stem}, {arguments.n_prompt} tokens, {arguments.threads} threads")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    for (name, dtype), taken in seconds.items():
        print(f"{name:12} {dtype:8} {arguments.n_prompt / statistics.median(taken):8.1f} tokens/s")
    for dtype in DTYPES:
        ratios = [
            theirs / ours
            for theirs, ours in zip(seconds["transformers", dtype], seconds["ftllm-nb", dtype], strict=True)
        ]
        print(f"ftllm-nb is {statistics.median(ratios):.2f} times as fast in {dtype}")


def transformers_runner(config_file: str, dtype: str) -> Callable[[np.ndarray], float]:
    """A function that prefills a prompt with transformers and returns the seconds."""
    config = json.loads(Path(config_file).read_text())
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**config), dtype=getattr(torch, dtype)
    ).eval()

    def run(prompt: np.ndarray) -> float:
        token_ids = torch.from_numpy(prompt.astype(np.int64))[None]
        with torch.inference_mode():
            started = time.perf_counter()
            model(token_ids, use_cache=True, logits_to_keep=1)
            return time.perf_counter() - started

    return run


def own_runner(config_file: str, dtype: str, threads: int) -> Callable[[np.ndarray], float]:
    """A function that prefills a prompt with ftllm-nb and returns the seconds."""
    settings = Settings(random_config=config_file, random=True, options=EngineOptions(dtype=dtype))
    with open_weights(settings) as checkpoint:
        executor = open_executor(describe(checkpoint), checkpoint, WeightTypes(dtype, atype=dtype), threads=threads)
    gc.collect()

    def run(prompt: np.ndarray) -> float:
        sequence = executor.cache.new_sequence()
        try:
            return time_steps(executor, [sequence], prompt, executor.max_step_tokens)
        finally:
            executor.cache.free(sequence)

    return run


if __name__ == "__main__":
    with one_sentence():
        main()

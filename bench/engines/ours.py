"""ftllm-nb, as bench/compare.py asks it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.loading import describe, open_executor

DTYPES = {"int4g32": "int4g32", "int8g32": "int8g32", "bfloat16": "bfloat16"}
EMBEDDING = {"int4g32": "int8g32"}
"""Where the embedding has other bits a weight than the rest: 8.5, as llama.cpp's Q8_0."""


class Engine:
    """A random model in memory, with one sequence."""

    def __init__(self, config_file: str, dtype: str, threads: int, folder: Path) -> None:
        with open_weights(Settings(random_config=config_file, random=True)) as checkpoint:
            types = WeightTypes(dtype, EMBEDDING.get(dtype, "auto"))
            self.executor = open_executor(describe(checkpoint), checkpoint, types, threads=threads)
        self.sequence = self.executor.cache.new_sequence()
        self.about = f"tier {current_tier().name}"

    def clear(self) -> None:
        """Forget all tokens."""
        self.executor.cache.truncate(self.sequence, 0)

    def step(self, token_ids: np.ndarray) -> tuple[float, np.ndarray]:
        """Append tokens: the seconds, and the last one's logits."""
        started = time.perf_counter()
        logits = self.executor.run([SequenceStep(self.sequence, token_ids)])
        return time.perf_counter() - started, logits[-1].copy()

"""ftllm-nb, as bench/compare.py asks it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from subject import Subject, gguf_types

from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.loading import describe, open_executor
from ftllm_nb.quant import weight_formats

EMBEDDING = {"int4g32": "int8g32"}
"""Where the embedding has other bits a weight than the rest: 8.5, as llama.cpp's Q8_0."""


def type_of(subject: Subject) -> str:
    """What the subject's weights are called here; "" for what cannot be run."""
    if subject.gguf:
        return gguf_types(subject.gguf)
    return subject.dtype if subject.dtype in weight_formats() else ""


class Engine:
    """A model in memory, with one sequence."""

    def __init__(
        self,
        subject: Subject,
        threads: int,
        folder: Path,
        *,
        engine: str = "compiled",
        kv_cache_dtype: str = "float16",
    ) -> None:
        with opened(subject) as checkpoint:
            types = WeightTypes(subject.dtype or "auto", EMBEDDING.get(subject.dtype, "auto"))
            self.executor = open_executor(
                describe(checkpoint), checkpoint, types, threads=threads, engine=engine, kv_cache_dtype=kv_cache_dtype
            )
        self.sequence = self.executor.cache.new_sequence()
        self.vocab_size = self.executor.vocab_size
        self.about = f"tier {current_tier().name}"

    def clear(self) -> None:
        """Forget all tokens."""
        self.executor.cache.truncate(self.sequence, 0)

    def step(self, token_ids: np.ndarray) -> tuple[float, np.ndarray]:
        """Append tokens: the seconds, and the last one's logits."""
        started = time.perf_counter()
        for begin in range(0, len(token_ids), self.executor.max_step_tokens):
            part = token_ids[begin : begin + self.executor.max_step_tokens]
            logits = self.executor.run([SequenceStep(self.sequence, part)])
        return time.perf_counter() - started, logits[-1].copy()

    def all_logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Append a few tokens: the logits of all of them [tokens, vocabulary]; the next step overwrites them."""
        return self.executor.run([SequenceStep(self.sequence, token_ids, len(token_ids))])


def opened(subject: Subject) -> Checkpoint:
    """The subject's weights."""
    if subject.gguf:
        return open_checkpoint(Path(subject.gguf))
    return open_weights(Settings(random_config=subject.config, random=True))

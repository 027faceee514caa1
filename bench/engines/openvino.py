"""OpenVINO by way of optimum-intel, as bench/compare.py asks it: a random model is converted as NNCF compresses it.

The model keeps its cache itself and attends with its own kernel, as OpenVINO GenAI runs it with the attention backend
SDPA. `pip install optimum-intel openvino nncf` brings all that is needed; nothing is fetched.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino
from engines.pytorch import random_model
from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig
from subject import Subject

DTYPES = {
    "int4g128": OVWeightQuantizationConfig(bits=4, sym=True, group_size=128, ratio=1.0),
    "int8": OVWeightQuantizationConfig(bits=8, sym=True),
}
TYPES = {"int4g128": "int4, groups of 128", "int8": "int8"}


def type_of(subject: Subject) -> str:
    """What the subject's weights are called here; "" for what cannot be run."""
    return TYPES.get(subject.dtype, "")


class Engine:
    """A random model in memory, with one sequence."""

    def __init__(self, subject: Subject, threads: int, folder: Path) -> None:
        model = random_model(subject.config)
        self.vocab_size = model.config.vocab_size
        with quiet():
            model.save_pretrained(folder)
            del model
            converted = OVModelForCausalLM.from_pretrained(
                folder, export=True, compile=False, quantization_config=DTYPES[subject.dtype]
            )
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        compiled = openvino.Core().compile_model(converted.model, "CPU", settings)
        self._inputs = {port.get_any_name() for port in compiled.inputs}
        self._request = compiled.create_infer_request()
        self.about = f"OpenVINO {openvino.get_version()}"
        self.clear()

    def clear(self) -> None:
        """Forget all tokens."""
        self._request.reset_state()
        self._length = 0

    def step(self, token_ids: np.ndarray) -> tuple[float, np.ndarray]:
        """Append tokens: the seconds, and the last one's logits."""
        ids = token_ids.astype(np.int64)[None]
        end = self._length + ids.shape[1]
        given = {
            "input_ids": ids,
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(self._length, end, dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        started = time.perf_counter()
        self._request.infer({name: value for name, value in given.items() if name in self._inputs})
        seconds = time.perf_counter() - started
        self._length = end
        return seconds, self._request.get_output_tensor(0).data[0, -1].copy()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let the conversion's progress, tables and warnings, also of its own processes, be nobody's matter."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, earlier in zip((1, 2), kept, strict=True):
            os.dup2(earlier, stream)
        for opened in (nowhere, *kept):
            os.close(opened)

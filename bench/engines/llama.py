"""llama.cpp by way of llama-cpp-python, as bench/compare.py asks it; a random model is written as GGUF first.

On a CPU with AMX it must be built by clang or by a GCC with a right amxtileintrin.h: that of Debian 12's GCC 12.2 tells
the compiler that `ldtilecfg` reads 8 bytes of the 64, the rest is not stored in time, and the first product ends
in a segmentation fault. Where there is no other compiler, a copy of amxtileintrin.h in which `_tile_loadconfig` reads
`*(const char (*)[64])`, in a folder that CMAKE_ARGS="-DCMAKE_CXX_FLAGS=-I…" names, mends it.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import time
from pathlib import Path

import llama_cpp
import numpy as np
from gguf_model import write_gguf
from subject import Subject, gguf_types

DTYPES = {"int4g32": "Q4_0", "int8g32": "Q8_0", "bfloat16": "BF16"}
CONTEXT = 8192
BATCH = 512


def type_of(subject: Subject) -> str:
    """What the subject's weights are called here; "" for what cannot be run."""
    return gguf_types(subject.gguf) if subject.gguf else DTYPES.get(subject.dtype, "")


class Engine:
    """A model in memory, with one sequence."""

    def __init__(self, subject: Subject, threads: int, folder: Path) -> None:
        file = Path(subject.gguf) if subject.gguf else folder / "model.gguf"
        if not subject.gguf:
            write_gguf(subject.config, subject.dtype, file)
        quieten()
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(bytes(file), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp does not read {file}.")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = CONTEXT, BATCH, BATCH
        settings.n_threads = settings.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.about = f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}: {_features()}"

    def close(self) -> None:
        """Give its memory back."""
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)

    def clear(self) -> None:
        """Forget all tokens."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def cut(self, length: int) -> bool:
        """Forget the tokens from `length` on; False where the model cannot, as with recurrent layers."""
        memory = llama_cpp.llama_get_memory(self.context)
        return bool(llama_cpp.llama_memory_seq_rm(memory, 0, length, -1))

    def step(self, token_ids: np.ndarray) -> tuple[float, np.ndarray]:
        """Append tokens: the seconds, and the last one's logits."""
        ids = (llama_cpp.llama_token * len(token_ids))(*token_ids)
        started = time.perf_counter()
        for begin in range(0, len(token_ids), BATCH):
            part = min(BATCH, len(token_ids) - begin)
            place = ctypes.cast(ctypes.byref(ids, 4 * begin), ctypes.POINTER(llama_cpp.llama_token))
            batch = llama_cpp.llama_batch_get_one(place, part)
            status = llama_cpp.llama_decode(self.context, batch)
            if status != 0:
                raise SystemExit(f"llama_decode of {part} tokens failed with status {status}.")
        llama_cpp.llama_synchronize(self.context)
        seconds = time.perf_counter() - started
        logits = llama_cpp.llama_get_logits_ith(self.context, -1)
        return seconds, np.ctypeslib.as_array(logits, (self.vocab_size,)).copy()

    def all_logits(self, token_ids: np.ndarray, last: int | None = None) -> np.ndarray:
        """Append a few tokens: the logits of all of them, or the last ones [tokens, vocabulary]; the next step
        overwrites them."""
        wanted = len(token_ids) if last is None else last
        begin = llama_cpp.llama_memory_seq_pos_max(llama_cpp.llama_get_memory(self.context), 0) + 1
        batch = llama_cpp.llama_batch_init(len(token_ids), 0, 1)
        batch.n_tokens = len(token_ids)
        for at, token_id in enumerate(token_ids.tolist()):
            batch.token[at], batch.pos[at] = token_id, begin + at
            batch.logits[at] = at >= len(token_ids) - wanted
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
        status = llama_cpp.llama_decode(self.context, batch)
        llama_cpp.llama_batch_free(batch)
        if status != 0:
            raise SystemExit(f"llama_decode of {len(token_ids)} tokens failed with status {status}.")
        logits = llama_cpp.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, (wanted, self.vocab_size))


@llama_cpp.llama_log_callback
def _quiet(level, text, user_data):
    """Its progress is nobody's matter here."""


def quieten() -> None:
    """Let llama.cpp say nothing."""
    llama_cpp.llama_log_set(_quiet, ctypes.c_void_p(0))


def _features() -> str:
    """The instructions that it was built for and found."""
    pairs = llama_cpp.llama_print_system_info().decode().split("|")
    return " ".join(pair.split("=")[0].strip() for pair in pairs if pair.strip().endswith("= 1"))

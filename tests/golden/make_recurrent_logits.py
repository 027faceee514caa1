"""Writes recurrent_logits.npz: what llama.cpp makes of the files of recurrent_files.py.

pip install llama-cpp-python==0.3.36; python -m tests.golden.make_recurrent_logits
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from tests.gguf_files import gguf_bytes
from tests.golden.recurrent_files import MODELS, TOKENS, VOCABULARY, file_of


def logits(path: Path) -> NDArray[np.float32]:
    """After all tokens but the last, and after that, [2, vocabulary]; a cache of float32."""
    model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    if not model:
        raise SystemExit(f"llama.cpp does not load {path}.")
    settings: Any = llama.llama_context_default_params()
    settings.n_ctx = settings.n_batch = 128
    settings.n_threads = settings.n_threads_batch = 1
    settings.type_k = settings.type_v = 0
    settings.flash_attn_type = 0
    context = llama.llama_init_from_model(model, settings)
    found = []
    for part in (TOKENS[:-1], TOKENS[-1:]):
        tokens = (llama.llama_token * len(part))(*map(int, part))  # a batch does not keep it
        assert llama.llama_decode(context, llama.llama_batch_get_one(tokens, len(part))) == 0
        found.append(np.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (VOCABULARY,)).copy())
    llama.llama_free(context)
    llama.llama_model_free(model)
    return np.stack(found)


def main() -> None:
    """Write the file beside this one."""
    llama.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        found = {}
        for kind in MODELS:
            path.write_bytes(gguf_bytes(*file_of(kind)))
            found[kind] = logits(path)
    np.savez_compressed(Path(__file__).with_name("recurrent_logits.npz"), **found)


if __name__ == "__main__":
    main()

"""What engines run beside each other, as bench/compare.py and bench/kl_gguf.py ask them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ftllm_nb.checkpoint.gguf.file import read_gguf

_SMALL_SHARE = 0.05
"""Of a file's bytes: types that have less are not in its name."""


@dataclass(frozen=True)
class Subject:
    """The random model of a config.json with weights of one of our types, or else a GGUF file."""

    config: str = ""
    dtype: str = ""
    gguf: str = ""


def gguf_types(file: str) -> str:
    """The types that most of a GGUF file's bytes have, as "Q4_K + Q6_K". Raises `CheckpointError`."""
    model = read_gguf(file)
    sizes: Counter[str] = Counter()
    for tensor in model.tensors.values():
        sizes[tensor.type] += tensor.nbytes
    model.close()
    return " + ".join(kind for kind, size in sizes.most_common() if size > _SMALL_SHARE * sizes.total())

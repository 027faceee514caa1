"""Which type each matrix gets where `--dtype` is a mixture that llama.cpp has a name for, or one type.

Matrices are named as in files. Errors in logits show at once, so the matrix that makes them has at least 6 bits. Stacks
of experts ("ffn_down_exps"), and the experts of all tokens ("ffn_down_shexp"), are of the kind of the matrix that they
stand for. With 8 experts attention is so small a part of a model that llama.cpp gives it more bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftllm_nb.errors import UsageError
from ftllm_nb.quantization.block_types import written_types

AUTO = "auto"
"""The type in which the model has a matrix."""
_FINE = ("f32", "f16", "bf16", "q8_0", "q6_k", AUTO)
"""Types that are precise enough for logits."""
_LOGITS = "q6_k"
_OF_EXPERTS = ("_exps", "_shexp", "_chexps")
_BESIDE_EIGHT_EXPERTS = {"attn_v": "q8_0", "attn_qkv": "q8_0", "attn_k": "q8_0", "attn_output": "q5_k"}


def _more_bits(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


@dataclass(frozen=True)
class Mixture:
    """`base`: of most matrices; `exceptions`: of a kind of matrix ("ffn_down") in layers (layer, layers) for which that
    holds; `file_type`: llama.cpp's number of it."""

    base: str
    file_type: int
    exceptions: tuple[tuple[str, str, Callable[[int, int], bool]], ...]


def _always(layer: int, layers: int) -> bool:
    return True


MIXTURES = {
    "q4_k_s": Mixture("q4_k", 14, (
        ("attn_v", "q5_k", lambda layer, layers: layer < 4),
        ("ffn_down", "q5_k", lambda layer, layers: layer < layers // 8),
    )),
    "q4_k_m": Mixture("q4_k", 15, (
        ("attn_v", "q6_k", _more_bits), ("ffn_down", "q6_k", _more_bits), ("attn_qkv", "q5_k", _always),
    )),
    "q5_k_s": Mixture("q5_k", 16, ()),
    "q5_k_m": Mixture("q5_k", 17, (
        ("attn_v", "q6_k", _more_bits), ("ffn_down", "q6_k", _more_bits), ("attn_qkv", "q6_k", _always),
    )),
}  # fmt: skip


def dtype_names() -> list[str]:
    """What `--dtype` may be."""
    return sorted([*written_types(), *MIXTURES, AUTO])


def require_dtype(dtype: str) -> None:
    """Raise `UsageError` for a name that is none of `dtype_names`."""
    if dtype not in dtype_names():
        raise UsageError(f"GGUF files are not written in {dtype!r}: use {', '.join(dtype_names())}.")


def matrix_type(dtype: str, name: str, layers: int, makes_logits: bool, experts: int = 0) -> str:
    """The type of the matrix that a file calls `name` ("blk.0.ffn_down.weight"), in a model of so many layers and
    experts."""
    mixture = MIXTURES.get(dtype)
    base = dtype if mixture is None else mixture.base
    if makes_logits:
        return base if base in _FINE else _LOGITS
    _, *parts = name.split(".")
    if mixture is not None and len(parts) > 2 and parts[0].isdecimal():
        stem = parts[1]
        for ending in _OF_EXPERTS:
            stem = stem.removesuffix(ending)
        if experts == 8 and stem in _BESIDE_EIGHT_EXPERTS:
            return _BESIDE_EIGHT_EXPERTS[stem]
        for kind, chosen, holds in mixture.exceptions:
            if stem == kind and holds(int(parts[0]), layers):
                return chosen
    return base


def file_type(dtype: str) -> int:
    """llama.cpp's number of what most of a file is."""
    return MIXTURES[dtype].file_type if dtype in MIXTURES else written_types()[dtype].file_type

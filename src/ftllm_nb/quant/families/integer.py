"""Weights of 4 and 8 bits, rounded while they load: one scale a row, or one for each group of columns.

Of 8 bits, where activations' rounding counts as much as weights', what shares a scale is spread by Hadamard's matrix
first (quant/integers.py): a token's largest activations would leave the others few steps.
Without groups 8 bits are the fastest in prefill, and 4 bits the coarsest of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.quantized_type import QuantizedType

if TYPE_CHECKING:
    from ftllm_nb.quant.base import WeightFormat

_GROUPS = {8: (0, 32, 64, 128), 4: (0, 32, 64, 128, 256)}
TYPES = {
    type.name: type
    for bits, groups in _GROUPS.items()
    for type in (QuantizedType(bits, group, spread=bits == 8) for group in groups)
} | {"int4g": QuantizedType(4, 128)}
"""int4g is fastllm's name for int4g128."""


def make(name: str) -> WeightFormat:
    """The format of a type of whole numbers."""
    from ftllm_nb.quant.integers import IntegerFormat

    return IntegerFormat(TYPES[name])

"""Formats of matrices that a checkpoint stores as whole numbers: kept as they are, to the last bit.

Not one of the formats that `--dtype` names: a checkpoint names it, by the type of its tensor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.repack_integers import repack_integers_kernel
from ftllm_nb.quant.integers import IntegerLayout

_TYPE = re.compile(r"(?P<name>int(?P<bits>4|8)(?:g(?P<group>\d+))?)(?P<zeros>z?)_(?P<scales>float16|bfloat16|float32)")
"""As checkpoint/base.py writes the types of whole numbers."""


@dataclass(frozen=True)
class StoredFormat(IntegerLayout):
    """The numbers, scales and zero points of the checkpoint."""

    @property
    def description(self) -> str:
        """As people read it: "int4g32 with zero points, bfloat16 scales"."""
        return f"{self.name}{' with zero points' if self.zeros else ''}, {self.scales} scales"

    def pack_scratch_bytes(self, columns: int) -> int:
        return 0

    def pack_kernel(self, source: str) -> Kernel:
        """See kernels/repack_integers.py for what its row takes beside that of other formats."""
        return repack_integers_kernel(*self._constants)

    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        return weights


def format_of_stored(dtype: str) -> StoredFormat:
    """The format that keeps a quantized matrix of this type: "int4g128_float16", with zero points "int8z_bfloat16"."""
    found = _TYPE.fullmatch(dtype)
    if found is None:
        raise ValueError(f"{dtype} is no type of quantized matrices")
    return StoredFormat(
        found["name"], int(found["bits"]), int(found["group"] or 0), found["scales"], bool(found["zeros"])
    )

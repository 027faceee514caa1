"""32-bit IEEE floats: exact, twice the memory of the others."""

from __future__ import annotations

from ftllm_nb.kernels.matmul_tile import FLOAT32
from ftllm_nb.quant.base import FloatFormat

FORMAT = FloatFormat("float32", FLOAT32)

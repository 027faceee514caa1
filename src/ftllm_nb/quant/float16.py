"""16-bit IEEE floats: 11 significant bits, magnitudes up to 65,504."""

from __future__ import annotations

from ftllm_nb.kernels.matmul_tile import FLOAT16
from ftllm_nb.quant.base import FloatFormat

FORMAT = FloatFormat("float16", FLOAT16)

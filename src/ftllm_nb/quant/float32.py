"""32-bit IEEE floats: exact, twice the memory of the others."""

from __future__ import annotations

from ftllm_nb.quant.floats import FloatFormat

FORMAT = FloatFormat("float32")

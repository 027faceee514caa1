"""16-bit brain floats: the upper half of a float32, 8 significant bits, float32's range."""

from __future__ import annotations

from ftllm_nb.quant.floats import FloatFormat

FORMAT = FloatFormat("bfloat16")

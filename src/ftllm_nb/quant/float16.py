"""16-bit IEEE floats: 11 significant bits, magnitudes up to 65,504."""

from __future__ import annotations

from ftllm_nb.quant.floats import FloatFormat

FORMAT = FloatFormat("float16")

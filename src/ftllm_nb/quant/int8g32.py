"""8-bit weights, a scale for each 32 columns of a row."""

from __future__ import annotations

from ftllm_nb.quant.integers import IntegerFormat

FORMAT = IntegerFormat("int8g32", bits=8, group=32)

"""4-bit weights, a scale for each 256 columns of a row."""

from __future__ import annotations

from ftllm_nb.quant.integers import IntegerFormat

FORMAT = IntegerFormat("int4g256", bits=4, group=256)

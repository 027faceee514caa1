"""4-bit weights, a scale for each 128 columns of a row."""

from __future__ import annotations

from ftllm_nb.quant.integers import IntegerFormat

FORMAT = IntegerFormat("int4g128", bits=4, group=128)

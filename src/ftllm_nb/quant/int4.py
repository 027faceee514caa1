"""4-bit weights, one scale a row: the smallest and the coarsest format."""

from __future__ import annotations

from ftllm_nb.quant.integers import IntegerFormat

FORMAT = IntegerFormat("int4", bits=4, group=0)

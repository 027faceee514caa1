"""8-bit weights, one scale a row: the smallest of the 8-bit formats, the fastest in prefill."""

from __future__ import annotations

from ftllm_nb.quant.integers import IntegerFormat

FORMAT = IntegerFormat("int8", bits=8, group=0)

"""fastllm's name for int4g128."""

from __future__ import annotations

from ftllm_nb.quant.int4g128 import FORMAT as FORMAT

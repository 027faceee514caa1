"""Weights in ggml's block types, rounded while they load: a table of 16 numbers, minimums beside scales, 5 and 6 bits.

Scales are searched, which takes some seconds for each billion weights; `ftllm-nb quantize` does it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.quantized_type import BlockedType

if TYPE_CHECKING:
    from ftllm_nb.quant.base import WeightFormat

TYPES = {
    name: BlockedType(name.upper())
    for name in ("iq4_nl", "iq4_xs", "q4_1", "q4_k", "q5_0", "q5_1", "q5_k", "q6_k")
}


def make(name: str) -> WeightFormat:
    """The format of a block type."""
    from ftllm_nb.quant.blocks import RoundedBlocks

    return RoundedBlocks(name)

"""FP8 as DeepSeek, Qwen and others write it; FP8 and NVFP4 as NVIDIA's ModelOpt does (../float_matrices.py)."""

from __future__ import annotations

from collections.abc import Iterator

from ftllm_nb.checkpoint.base import Checkpoint
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.foreign.entries import Entries
from ftllm_nb.checkpoint.foreign.float_matrices import float_matrices
from ftllm_nb.checkpoint.foreign.matrix import ForeignMatrix

METHODS = ("fp8", "fbgemm_fp8", "modelopt")
BESIDE = "hf_quant_config.json"
_BLOCK = "weight_block_size"


def matrices(stored: Checkpoint, entries: Entries) -> Iterator[ForeignMatrix]:
    """All matrices of the checkpoint."""
    block = entries.section.get(_BLOCK)
    if block is None:
        return float_matrices(stored)
    if not isinstance(block, list) or len(block) != 2 or not all(type(size) is int and size > 0 for size in block):
        raise entries.error(f"has the {_BLOCK} {shown(block)}, but two sizes were expected")
    return float_matrices(stored, (block[0], block[1]))

"""Folders in the engine's own layout: matrices lie on disk as they lie in memory, so that a start only reads them.

A packed matrix is one tensor of bytes [blocks, bytes of a block] under its own name, in files as Hugging Face's are.
config.json's `quantization_config` is the header: the version, how blocks lie, each matrix's shape and type, and a
checksum of all this.
"""

from ftllm_nb.checkpoint.packed.blocks import LAYOUT, BlockForm, KeptForm, ScaledForm
from ftllm_nb.checkpoint.packed.checkpoint import PackedCheckpoint
from ftllm_nb.checkpoint.packed.header import PackedMatrix, is_packed, read_header, write_header

__all__ = [
    "LAYOUT", "BlockForm", "KeptForm", "PackedCheckpoint", "PackedMatrix", "ScaledForm", "is_packed", "read_header",
    "write_header",
]  # fmt: skip

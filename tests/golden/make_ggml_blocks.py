"""Write ggml_blocks.npz: what llama.cpp makes of rows of floats in each block type that it and we write.

    python -m tests.golden.make_ggml_blocks        (needs what `make peers` installs: llama-cpp-python; and NumPy)

For a type NAME: `NAME`, uint8 [rows, bytes of a row], the blocks of the first rows; `NAME.left`, float64 [2], what is
left of all rows, where columns count alike and where they count as `importance` says.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from tests.golden.block_rows import FILE, KEPT, Floats, importance, left, rows

TYPES = {
    "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "IQ4_NL": 20,
    "IQ4_XS": 23, "MXFP4": 39,
}  # fmt: skip
"""ggml's numbers of them."""


class _Traits(ctypes.Structure):
    """The first of the fields of ggml_type_traits."""

    _fields_ = (
        ("type_name", ctypes.c_char_p), ("blck_size", ctypes.c_int64), ("interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t), ("is_quantized", ctypes.c_bool), ("to_float", ctypes.c_void_p),
    )  # fmt: skip


def _library() -> ctypes.CDLL:
    (path,) = (Path(llama_cpp.__file__).parent / "lib").glob("libggml-base.so")
    found = ctypes.CDLL(str(path))
    found.ggml_quantize_chunk.restype = ctypes.c_size_t
    found.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip
    found.ggml_row_size.restype, found.ggml_row_size.argtypes = ctypes.c_size_t, [ctypes.c_int, ctypes.c_int64]
    found.ggml_get_type_traits.restype = ctypes.POINTER(_Traits)
    return found


def quantized(library: ctypes.CDLL, kind: int, weights: Floats, counts: Floats | None) -> NDArray[np.uint8]:
    """The blocks of rows."""
    count, columns = weights.shape
    found = np.zeros((count, library.ggml_row_size(kind, columns)), np.uint8)
    place = None if counts is None else counts.ctypes.data
    made = library.ggml_quantize_chunk(kind, weights.ctypes.data, found.ctypes.data, 0, count, columns, place)
    assert made == found.nbytes
    return found


def floats(library: ctypes.CDLL, kind: int, blocks: NDArray[np.uint8], columns: int) -> Floats:
    """What blocks stand for."""
    decode = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(
        library.ggml_get_type_traits(kind).contents.to_float
    )
    found = np.empty((len(blocks), columns), np.float32)
    decode(blocks.ctypes.data, found.ctypes.data, found.size)
    return found


def main() -> None:
    """Write the file."""
    library, weights, counts = _library(), rows(), importance()
    alike = np.ones_like(counts)
    contents: dict[str, NDArray[np.generic]] = {}
    for name, kind in TYPES.items():
        blocks, counted = quantized(library, kind, weights, None), quantized(library, kind, weights, counts)
        contents[name] = blocks[:KEPT]
        contents[f"{name}.left"] = np.array([
            left(weights, floats(library, kind, blocks, 1024), alike),
            left(weights, floats(library, kind, counted, 1024), counts),
        ])  # fmt: skip
    np.savez_compressed(FILE, **contents)


if __name__ == "__main__":
    main()

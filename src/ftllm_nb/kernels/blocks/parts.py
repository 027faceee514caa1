"""Pieces of code that block types read their planes with. A word has a row's four neighbouring bytes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.dot import V_BYTES, V_WORDS, joined, split
from ftllm_nb.kernels.emit import I8, I16, I32, I64, LANES, constant, function, load, splat
from ftllm_nb.kernels.simd import widen_f16
from ftllm_nb.kernels.tiers import current_tier

WORD_BYTES = 4 * LANES
"""Of a word of each row."""


def vector(b: ir.IRBuilder, unit: Any, at: int, word: int = 0, chunk: Any = None, step: int = 0) -> Any:
    """64 bytes: word `word` + `step` · `chunk` of each row, of a plane that begins at byte `at` of a unit."""
    if chunk is not None:
        unit = b.add(unit, b.mul(chunk, ir.Constant(I64, WORD_BYTES * step)))
    return load(b, b.add(unit, ir.Constant(I64, at + WORD_BYTES * word)), V_BYTES)


def bits(b: ir.IRBuilder, packed: Any, first: int, count: int, to: int = 0) -> Any:
    """`count` bits of each byte from bit `first` on, moved to bit `to`."""
    if first != to:
        words = b.bitcast(packed, V_WORDS)
        shift, by = (b.lshr, first - to) if first > to else (b.shl, to - first)
        packed = b.bitcast(shift(words, constant(I16, by, 2 * LANES)), V_BYTES)
    return b.and_(packed, constant(I8, _signed(((1 << count) - 1) << to), 4 * LANES))


def halves(b: ir.IRBuilder, unit: Any, at: int, quad: int, chunk: Any = None) -> Any:
    """Numbers of 4 bits of a part whose columns 0 … 15 are the lower halves of its bytes and 16 … 31 the upper ones."""
    return bits(b, vector(b, unit, at, quad % 4, chunk, 4), 4 * (quad // 4), 4)


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def both_words(b: ir.IRBuilder, packed: Any, byte: int, is_signed: bool = False) -> Any:
    """32 words: of each row twice its byte `byte`."""
    return _words(b, packed, (byte, byte), is_signed)


def two_words(b: ir.IRBuilder, packed: Any, byte: int, is_signed: bool = False) -> Any:
    """32 words: of each row its bytes `byte` and `byte` + 1."""
    return _words(b, packed, (byte, byte + 1), is_signed)


def _words(b: ir.IRBuilder, packed: Any, bytes_: tuple[int, int], is_signed: bool) -> Any:
    zero, places = 4 * LANES, []
    for lane in range(LANES):
        for byte in bytes_:
            place = 4 * lane + byte
            places += [zero, place] if is_signed else [place, zero]
    mask = ir.Constant(ir.VectorType(I32, 4 * LANES), places)
    words = b.bitcast(b.shuffle_vector(packed, constant(I8, 0, 4 * LANES), mask), V_WORDS)
    return b.ashr(words, constant(I16, 8, 2 * LANES)) if is_signed else words


def packed_scales(b: ir.IRBuilder, unit: Any, at: int) -> tuple[list[Any], list[Any]]:
    """The 8 scales and 8 minimums of 6 bits in three words of each row: two vectors each, of four a row."""
    low, middle, high = (vector(b, unit, at, word) for word in range(3))
    scales = [bits(b, low, 0, 6), b.or_(bits(b, high, 0, 4), bits(b, low, 6, 2, 4))]
    minimums = [bits(b, middle, 0, 6), b.or_(bits(b, high, 4, 4), bits(b, middle, 6, 2, 4))]
    return scales, minimums


def floats16(b: ir.IRBuilder, unit: Any, at: int) -> Any:
    """16 float32, which byte `at` of a unit and what follows hold as float16."""
    return widen_f16(b, b.add(unit, ir.Constant(I64, at)))


def looked_up(b: ir.IRBuilder, table: tuple[int, ...], places: Any) -> Any:
    """The entries of a table of 16 bytes at 64 places, each below 16."""
    name, size = _SHUFFLES.get(current_tier().dot, ("", 0))
    if not size:
        found: Any = constant(I8, table[0], 4 * LANES)
        for place, entry in enumerate(table[1:], 1):
            is_here = b.icmp_unsigned("==", places, constant(I8, place, 4 * LANES))
            found = b.select(is_here, constant(I8, entry, 4 * LANES), found)
        return found
    kind = ir.VectorType(I8, size)
    shuffle = function(b, name, kind, kind, kind)
    entries = ir.Constant(kind, list(table) * (size // 16))
    parts = [b.call(shuffle, [entries, each]) for each in split(b, places, size)]
    return joined(b, parts)


_SHUFFLES = {
    "vpdpbusd512": ("llvm.x86.avx512.pshuf.b.512", 64),
    "maddubs512": ("llvm.x86.avx512.pshuf.b.512", 64),
    "vpdpbusd256": ("llvm.x86.avx2.pshuf.b", 32),
    "maddubs256": ("llvm.x86.avx2.pshuf.b", 32),
    "sdot": ("llvm.aarch64.neon.tbl1.v16i8", 16),
}
"""By the instruction for dot products: that which looks up bytes, and how many at once."""


def numbered_bit(b: ir.IRBuilder, packed: Any, number: Any, to: int) -> Any:
    """Bit `number`, an int16, of each byte, moved to bit `to`."""
    words = b.lshr(b.bitcast(packed, V_WORDS), splat(b, number, 2 * LANES))
    return bits(b, b.bitcast(words, V_BYTES), 0, 1, to)

"""The dot product of four neighbouring bytes, added to each of 16 lanes: the instruction that integer formats live on.
Where the products of bytes are cut off at 16 bits, those of weights of 4 bits, and of four bytes with words.

Weights are unsigned bytes, activations signed ones in -127 … 127; where `multiplies_bytes`, -128 is right, too. Every
tier gives the same integers; tiers whose instruction takes signed weights alone see weights of 8 bits with 128
subtracted, and `subtracted(bits)` says so.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ftllm_nb.kernels.emit import I8, I16, I32, LANES, computed_here, constant, function
from ftllm_nb.kernels.tiers import current_tier

V_I32 = ir.VectorType(I32, LANES)
V_BYTES = ir.VectorType(I8, 4 * LANES)
V_WORDS = ir.VectorType(I16, 2 * LANES)

PAIR_QUADS = 8
"""Quads of columns whose products with 4-bit weights, summed in two words a lane, fit: 8 · 2 · 15 · 127 < 2 ** 15."""

Emit = Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value, int], ir.Value]


def emit_dot(builder: ir.IRBuilder, totals: ir.Value, weights: ir.Value, values: ir.Value, bits: int) -> ir.Value:
    """totals + Σ over the four bytes of each lane of weights · values.

    `totals`: 16 int32. `weights`, `values`: 64 bytes, lane by lane, of `bits`-bit unsigned weights and signed values.
    """
    return _INSTRUCTIONS[current_tier().dot](builder, totals, weights, values, bits)


def sums_pairs(bits: int) -> bool:
    """Whether weights of so many bits are best multiplied by `emit_pairs`, up to PAIR_QUADS times, and then
    `emit_pair_totals`, instead of `emit_dot`: tiers whose products of bytes come as sums of two in 16 bits."""
    return bits == 4 and current_tier().dot in _PAIRS


def emit_pairs(builder: ir.IRBuilder, sums: ir.Value | None, weights: ir.Value, values: ir.Value) -> ir.Value:
    """sums + the products of neighbouring bytes, two added in a word; `sums`, 32 words, may be None, for zeros.

    `weights`, `values`: 64 bytes, as of `emit_dot`, of weights below 128: what is summed must fit words.
    """
    return _PAIRS[current_tier().dot](builder, sums, weights, values)


def has_pairs() -> bool:
    """Whether the tier has `emit_pairs` and `emit_signed_pairs`."""
    return current_tier().dot in _PAIRS


def emit_signed_pairs(builder: ir.IRBuilder, weights: ir.Value, values: ir.Value) -> ir.Value:
    """The products of neighbouring bytes, two added in each of 32 words; of signed weights, -127 … 127."""
    return _SIGNED_PAIRS[current_tier().dot](builder, weights, values)


def emit_word_products(builder: ir.IRBuilder, totals: ir.Value, words: ir.Value, others: ir.Value) -> ir.Value:
    """totals + the products of the two signed words in each of 16 lanes; `words`, `others`: 32 words."""
    first, second = (builder.bitcast(each, V_BYTES) for each in (words, others))
    return _WORD_PRODUCTS[current_tier().dot](builder, totals, first, second, 16)


def emit_pair_totals(builder: ir.IRBuilder, totals: ir.Value, sums: ir.Value) -> ir.Value:
    """totals + the two words of `sums` in each of 16 lanes."""
    ones = builder.bitcast(constant(I16, 1, 2 * LANES), V_BYTES)
    return _WORD_DOTS[current_tier().dot](builder, totals, builder.bitcast(sums, V_BYTES), ones, 16)


def subtracted(bits: int) -> int:
    """What `emit_dot` has taken from each weight already."""
    return 128 if bits == 8 and current_tier().dot in _SIGNED else 0


def multiplies_bytes() -> bool:
    """Whether the tier has an instruction for four products of bytes of which no sum is cut off; else words are better
    where numbers have more than 8 bits."""
    return current_tier().dot not in _WORD_DOTS


def emit_word_dots(
    builder: ir.IRBuilder, totals: ir.Value, weights: ir.Value, first: ir.Value, second: ir.Value
) -> ir.Value:
    """totals + Σ over the four bytes of each lane of (weights − 128) · values, where the values have 16 bits.

    `totals`: 16 int32. `weights`: 64 unsigned bytes, lane by lane. `first`: in each lane the values of its bytes 0 and
    2, two words; `second`: those of its bytes 1 and 3.
    """
    words = builder.bitcast(_signed(builder, weights, 8), V_WORDS)
    up = constant(I16, 8, 2 * LANES)
    for pairs, values in ((builder.ashr(builder.shl(words, up), up), first), (builder.ashr(words, up), second)):
        pairs, values = builder.bitcast(pairs, V_BYTES), builder.bitcast(values, V_BYTES)
        totals = _WORD_DOTS[current_tier().dot](builder, totals, pairs, values, 16)
    return totals


def _part(builder: ir.IRBuilder, value: ir.Value, at: int, size: int) -> ir.Value:
    """Lanes at … at + size of a vector."""
    if size == value.type.count:
        return value
    mask = ir.Constant(ir.VectorType(I32, size), list(range(at, at + size)))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)


def split(builder: ir.IRBuilder, value: ir.Value, size: int) -> list[ir.Value]:
    """A vector's runs of `size` lanes."""
    return [_part(builder, value, at, size) for at in range(0, value.type.count, size)]


def joined(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    """Vectors of equal size laid side by side; their number is a power of two."""
    while len(parts) > 1:
        size = parts[0].type.count
        mask = ir.Constant(ir.VectorType(I32, 2 * size), list(range(2 * size)))
        parts = [builder.shuffle_vector(low, high, mask) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _in_parts(emit: Emit, lanes: int) -> Emit:
    """An instruction on `lanes` lanes of 32 bits, used as often as 16 lanes need."""

    def whole(builder: ir.IRBuilder, totals: ir.Value, weights: ir.Value, values: ir.Value, bits: int) -> ir.Value:
        parts = [
            emit(
                builder,
                _part(builder, totals, at, lanes),
                _part(builder, weights, 4 * at, 4 * lanes),
                _part(builder, values, 4 * at, 4 * lanes),
                bits,
            )
            for at in range(0, LANES, lanes)
        ]
        return joined(builder, parts)

    return whole


def _vnni(name: str) -> Emit:
    """vpdpbusd: unsigned · signed. LLVM 22 takes the bytes as such."""

    def emit(builder: ir.IRBuilder, totals: ir.Value, weights: ir.Value, values: ir.Value, bits: int) -> ir.Value:
        kinds = (totals.type, weights.type, values.type)
        return builder.call(function(builder, name, totals.type, *kinds), [totals, weights, values])

    return emit


def _signed(builder: ir.IRBuilder, weights: ir.Value, bits: int) -> ir.Value:
    """Weights of 8 bits less 128; narrower ones are as good as signed."""
    return builder.xor(weights, constant(I8, -128, weights.type.count)) if bits == 8 else weights


def _pairs(name: str, bytes_at_once: int) -> Callable[[ir.IRBuilder, ir.Value | None, ir.Value, ir.Value], ir.Value]:
    """vpmaddubsw: unsigned · signed, added in pairs."""

    def emit(builder: ir.IRBuilder, sums: ir.Value | None, weights: ir.Value, values: ir.Value) -> ir.Value:
        bytes_, words = ir.VectorType(I8, bytes_at_once), ir.VectorType(I16, bytes_at_once // 2)
        multiply = function(builder, name, words, bytes_, bytes_)
        parts = []
        for at in range(0, 4 * LANES, bytes_at_once):
            products = builder.call(multiply, [_part(builder, each, at, bytes_at_once) for each in (weights, values)])
            if sums is not None:
                products = builder.add(_part(builder, sums, at // 2, bytes_at_once // 2), products)
            parts.append(computed_here(builder, products))
        return joined(builder, parts)

    return emit


def _signs_moved(multiply_bytes: str, multiply_words: str, move: Callable[..., ir.Value]) -> Emit:
    """vpmaddubsw and vpmaddwd. Pairs of products with unsigned bytes would not fit 16 bits: with the magnitudes of
    signed ones they do, and `move` gives their signs to the values."""

    def emit(builder: ir.IRBuilder, totals: ir.Value, weights: ir.Value, values: ir.Value, bits: int) -> ir.Value:
        size = weights.type.count
        words = ir.VectorType(I16, size // 2)
        pairs = make_pairs(builder, _signed(builder, weights, bits), values)
        add_pairs = function(builder, multiply_words, totals.type, words, words)
        quads = builder.call(add_pairs, [pairs, constant(I16, 1, size // 2)])
        return computed_here(builder, builder.add(totals, quads))

    make_pairs = _signed_pairs(multiply_bytes, move)
    return emit


def _signed_pairs(
    multiply_bytes: str, move: Callable[..., ir.Value]
) -> Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]:
    """The first half of that."""

    def emit(builder: ir.IRBuilder, signed: ir.Value, values: ir.Value) -> ir.Value:
        size, bytes_ = signed.type.count, signed.type
        words, flag = ir.VectorType(I16, size // 2), ir.IntType(1)
        magnitude = function(builder, f"llvm.abs.v{size}i8", bytes_, bytes_, flag)
        magnitudes = builder.call(magnitude, [signed, ir.Constant(flag, 0)])
        multiply = function(builder, multiply_bytes, words, bytes_, bytes_)
        return builder.call(multiply, [magnitudes, move(builder, values, signed)])

    return emit


def _in_halves(
    emit: Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value],
) -> Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]:
    """What makes words of 32 bytes, twice for 64."""

    def whole(builder: ir.IRBuilder, weights: ir.Value, values: ir.Value) -> ir.Value:
        halves = [(_part(builder, weights, at, 32), _part(builder, values, at, 32)) for at in (0, 32)]
        return joined(builder, [computed_here(builder, emit(builder, *half)) for half in halves])

    return whole


def _negated_by(builder: ir.IRBuilder, values: ir.Value, signed: ir.Value) -> ir.Value:
    """Values, negated where `signed` is negative."""
    zeros = constant(I8, 0, values.type.count)
    return builder.select(builder.icmp_signed("<", signed, zeros), builder.sub(zeros, values), values)


def _psignb(builder: ir.IRBuilder, values: ir.Value, signed: ir.Value) -> ir.Value:
    """The same, and 0 where `signed` is."""
    move = function(builder, "llvm.x86.avx2.psign.b", values.type, values.type, values.type)
    return builder.call(move, [values, signed])


def _sdot(builder: ir.IRBuilder, totals: ir.Value, weights: ir.Value, values: ir.Value, bits: int) -> ir.Value:
    weights = _signed(builder, weights, bits)
    kinds = (totals.type, weights.type, values.type)
    name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
    return builder.call(function(builder, name, totals.type, *kinds), [totals, weights, values])


def _plain(builder: ir.IRBuilder, totals: ir.Value, weights: ir.Value, values: ir.Value, bits: int) -> ir.Value:
    """Widened to 32 bits: byte by byte of each lane."""
    weights, values = builder.bitcast(weights, V_I32), builder.bitcast(values, V_I32)
    top = constant(I32, 24)
    for byte in range(4):
        up = constant(I32, 24 - 8 * byte)
        weight = builder.lshr(builder.shl(weights, up), top)
        value = builder.ashr(builder.shl(values, up), top)
        totals = builder.add(totals, builder.mul(weight, value))
    return totals


def _word_products(multiply_words: str) -> Emit:
    """madd: signed words, whose products are added in pairs."""

    def emit(builder: ir.IRBuilder, totals: ir.Value, weights: ir.Value, values: ir.Value, bits: int) -> ir.Value:
        words = ir.VectorType(I16, 2 * totals.type.count)
        multiply = function(builder, multiply_words, totals.type, words, words)
        return builder.add(totals, builder.call(multiply, [builder.bitcast(each, words) for each in (weights, values)]))

    return emit


def _plain_words(
    builder: ir.IRBuilder, totals: ir.Value, weights: ir.Value, values: ir.Value, bits: int
) -> ir.Value:
    """Widened to 32 bits: the lower words of all lanes, then the upper ones."""
    weights, values, up = builder.bitcast(weights, V_I32), builder.bitcast(values, V_I32), constant(I32, 16)
    low = [builder.ashr(builder.shl(each, up), up) for each in (weights, values)]
    high = [builder.ashr(each, up) for each in (weights, values)]
    return builder.add(builder.add(totals, builder.mul(*low)), builder.mul(*high))


_WORD_DOTS: dict[str, Emit] = {
    "maddubs512": _word_products("llvm.x86.avx512.pmaddw.d.512"),
    "maddubs256": _in_parts(_word_products("llvm.x86.avx2.pmadd.wd"), 8),
    "plain": _plain_words,
}
_WORD_PRODUCTS: dict[str, Emit] = {
    **_WORD_DOTS,
    "vpdpbusd512": _word_products("llvm.x86.avx512.pmaddw.d.512"),
    "vpdpbusd256": _in_parts(_word_products("llvm.x86.avx2.pmadd.wd"), 8),
    "sdot": _plain_words,
}
_INSTRUCTIONS: dict[str, Emit] = {
    "vpdpbusd512": _vnni("llvm.x86.avx512.vpdpbusd.512"),
    "vpdpbusd256": _in_parts(_vnni("llvm.x86.avx512.vpdpbusd.256"), 8),
    "maddubs512": _signs_moved("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512", _negated_by),
    "maddubs256": _in_parts(_signs_moved("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd", _psignb), 8),
    "sdot": _in_parts(_sdot, 4),
    "plain": _plain,
}
_PAIRS = {
    "maddubs512": _pairs("llvm.x86.avx512.pmaddubs.w.512", 64),
    "maddubs256": _pairs("llvm.x86.avx2.pmadd.ub.sw", 32),
}
_SIGNED_PAIRS = {
    "maddubs512": _signed_pairs("llvm.x86.avx512.pmaddubs.w.512", _negated_by),
    "maddubs256": _in_halves(_signed_pairs("llvm.x86.avx2.pmadd.ub.sw", _psignb)),
}
_SIGNED = {"maddubs512", "maddubs256", "sdot"}
"""Instructions for which weights of 8 bits are made signed."""

"""Mixture of experts inside a walk: which expert multiplies which token is known only when the router has chosen.

Each token goes to `PICKS` experts, so a step has tokens × PICKS slots. `route` sorts them: by expert, and within one by
token. Then an expert's slots lie side by side, and its products are those of a matrix with some rows; `route` writes
these as units of work, an expert and at most `UNIT_SLOTS` of its slots, which the kernels of products read from memory
to count their chunks. A step reads each chosen expert once, whatever the number of its tokens. `combine` adds up a
token's experts in the order of their numbers, so that who else is in the step makes no difference.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numba

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.memory import copy_bytes, load_f32, load_i32, load_i64, store_f32, store_i32, store_i64
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.simd import fma, load_vector_partial, spread, store_vector_partial
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, take_chunk
from ftllm_nb.kernels.tiling import PANEL_BLOCKS

UNIT_SLOTS = 96
"""Most slots of a unit: a multiple of every tile's tokens."""
UNITS_HEAD = 64
"""Bytes before the units: the first word is their number."""
UNIT_BYTES = 24
"""Of a unit, three words: the expert, its first slot, how many slots."""
_SLOTS_AT_ONCE = 8
"""Rows of a chunk of `gather`."""
_FEATURES_AT_ONCE = 1024
"""Features of a chunk of `combine`."""

ROUTE = row_fields("index", "index_stride", "score", "score_stride", "picks", "experts", "count", "units", "tokens",
                   "slots", "weights")  # fmt: skip
"""Arguments of `route`'s rows. `index`, `score`: float32 [picks] of each token, the experts' numbers and weights;
`count`: the step's field with the number of tokens. What is written: `units`; `tokens`, int32 of each slot, its token;
`slots`, int32, and `weights`, float32, [tokens, picks], by ascending expert."""


def most_units(slots: int, experts: int) -> int:
    """Units that `route` writes at most."""
    return min(slots, experts) + slots // UNIT_SLOTS


def route_scratch_bytes(experts: int) -> int:
    """Private memory that the worker of `route` needs."""
    return 8 * experts


def experts_in(units: int) -> int:
    """How many experts the units name that `route` wrote at an address."""
    words = (ctypes.c_int64 * (UNITS_HEAD // 8)).from_address(units)
    listed = (ctypes.c_int64 * (words[0] * UNIT_BYTES // 8)).from_address(units + UNITS_HEAD)
    return len(set(listed[:: UNIT_BYTES // 8]))


@numba.njit
def _expert_at(address, experts):
    """The expert that a float32 names; one that there is not becomes the nearest, and NaN the first."""
    number = load_f32(address)
    if not number >= 0:
        return 0
    return min(int(number), experts - 1) if number < experts else experts - 1


@kernel()
def route(row, step, worker):
    """Sort the step's slots. There is one chunk: it takes some microseconds."""
    picks, experts = argument(row, ROUTE.picks), argument(row, ROUTE.experts)
    slots, weights, units = argument(row, ROUTE.slots), argument(row, ROUTE.weights), argument(row, ROUTE.units)
    first = field(worker, WORKER_SCRATCH)
    if take_chunk(worker, 1) < 0:
        return
    tokens = field(step, argument(row, ROUTE.count))
    for expert in range(experts):
        store_i64(first + 8 * expert, 0)
    for token in range(tokens):
        index = argument(row, ROUTE.index) + token * argument(row, ROUTE.index_stride)
        score = argument(row, ROUTE.score) + token * argument(row, ROUTE.score_stride)
        begin = token * picks
        for pick in range(picks):
            expert, place = _expert_at(index + 4 * pick, experts), begin + pick
            while place > begin and load_i32(slots + 4 * (place - 1)) > expert:
                store_i32(slots + 4 * place, load_i32(slots + 4 * (place - 1)))
                store_f32(weights + 4 * place, load_f32(weights + 4 * (place - 1)))
                place -= 1
            store_i32(slots + 4 * place, expert)
            store_f32(weights + 4 * place, load_f32(score + 4 * pick))
            store_i64(first + 8 * expert, load_i64(first + 8 * expert) + 1)
    number, total = 0, 0
    for expert in range(experts):
        count = load_i64(first + 8 * expert)
        store_i64(first + 8 * expert, total)
        for begin in range(0, count, UNIT_SLOTS):
            unit = units + UNITS_HEAD + UNIT_BYTES * number
            store_i64(unit, expert)
            store_i64(unit + 8, total + begin)
            store_i64(unit + 16, min(UNIT_SLOTS, count - begin))
            number += 1
        total += count
    store_i64(units, number)
    for entry in range(tokens * picks):
        place = first + 8 * load_i32(slots + 4 * entry)
        slot = load_i64(place)
        store_i64(place, slot + 1)
        store_i32(slots + 4 * entry, slot)
        store_i32(argument(row, ROUTE.tokens) + 4 * slot, entry // picks)


GATHER = row_fields("input", "input_stride", "output", "output_stride", "size", "tokens", "picks", "count")
"""Arguments of `gather`'s rows: `size` bytes of each token; `tokens`, `picks` and `count` as of `route`."""


@kernel()
def gather(row, step, worker):
    """Copy each slot's token to the slot's place. One token's slots are read where the token is: nothing to do."""
    tokens = field(step, argument(row, GATHER.count))
    slots = tokens * argument(row, GATHER.picks)
    num_chunks = (slots + _SLOTS_AT_ONCE - 1) // _SLOTS_AT_ONCE
    if tokens == 1:
        return
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        for slot in range(chunk * _SLOTS_AT_ONCE, min(slots, (chunk + 1) * _SLOTS_AT_ONCE)):
            token = load_i32(argument(row, GATHER.tokens) + 4 * slot)
            copy_bytes(argument(row, GATHER.output) + slot * argument(row, GATHER.output_stride),
                       argument(row, GATHER.input) + token * argument(row, GATHER.input_stride),
                       argument(row, GATHER.size))  # fmt: skip
        chunk = take_chunk(worker, num_chunks)


PRODUCT = row_fields("input", "input_stride", "columns", "matrices", "parts", "block_stride", "blocks", "bias",
                     "bias_stride", "output", "output_stride", "units", "tokens", "direct",
                     "direct_stride")  # fmt: skip
"""Arguments of the rows of products: `input` and `output`, a row for each slot. `matrices`: int64 [experts, parts], the
addresses of `blocks` of 16 rows each, whose outputs lie side by side; where they lie in memory is all the same.
`bias`: float32 [parts, 16 · blocks] of each expert, `bias_stride` bytes apart, or 0 for the same zeros. `direct`: where
tokens lie, which a unit of one slot reads instead, or 0; `tokens` and `units` as of `route`."""


def expert_linear_by(multiply: Any, variant: str) -> Kernel:
    """Each slot's row · its expert's matricesᵀ + bias, by a function as `linear_by` takes it. A chunk is a unit's panel
    of row blocks of a matrix."""

    @kernel(variant=variant)
    def expert_linear(row, step, worker):
        units, blocks, parts = argument(row, PRODUCT.units), argument(row, PRODUCT.blocks), argument(row, PRODUCT.parts)
        block_stride, direct = argument(row, PRODUCT.block_stride), argument(row, PRODUCT.direct)
        panels = (blocks + PANEL_BLOCKS - 1) // PANEL_BLOCKS
        num_chunks = load_i64(units) * parts * panels
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            first_block, matrix = chunk % panels * PANEL_BLOCKS, chunk // panels
            part, unit = matrix % parts, units + UNITS_HEAD + UNIT_BYTES * (matrix // parts)
            expert, slot, count = load_i64(unit), load_i64(unit + 8), load_i64(unit + 16)
            place = 64 * (part * blocks + first_block)
            source = argument(row, PRODUCT.input) + slot * argument(row, PRODUCT.input_stride)
            if direct != 0 and count == 1:
                token = load_i32(argument(row, PRODUCT.tokens) + 4 * slot)
                source = direct + token * argument(row, PRODUCT.direct_stride)
            multiply(
                load_i64(argument(row, PRODUCT.matrices) + 8 * (expert * parts + part)) + first_block * block_stride,
                block_stride,
                min(PANEL_BLOCKS, blocks - first_block),
                source,
                argument(row, PRODUCT.input_stride),
                count,
                argument(row, PRODUCT.bias) + expert * argument(row, PRODUCT.bias_stride) + place,
                0,
                argument(row, PRODUCT.output) + slot * argument(row, PRODUCT.output_stride) + place,
                argument(row, PRODUCT.output_stride),
                argument(row, PRODUCT.columns),
                field(worker, WORKER_SCRATCH),
            )
            chunk = take_chunk(worker, num_chunks)

    return expert_linear


COMBINE = row_fields("input", "input_stride", "output", "output_stride", "size", "slots", "weights", "picks", "count")
"""Arguments of `combine`'s rows: `size` features; `input`: a row for each slot; the others as of `route`."""


@kernel()
def combine(row, step, worker):
    """output = Σ weight · input over a token's slots, by ascending expert. A chunk is a run of a token's features."""
    size, picks = argument(row, COMBINE.size), argument(row, COMBINE.picks)
    runs = (size + _FEATURES_AT_ONCE - 1) // _FEATURES_AT_ONCE
    num_chunks = runs * field(step, argument(row, COMBINE.count))
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        token, begin = chunk // runs, chunk % runs * _FEATURES_AT_ONCE
        slots = argument(row, COMBINE.slots) + 4 * picks * token
        weights = argument(row, COMBINE.weights) + 4 * picks * token
        target = argument(row, COMBINE.output) + token * argument(row, COMBINE.output_stride)
        for at in range(begin, min(size, begin + _FEATURES_AT_ONCE), 16):
            total = spread(0.0)
            for pick in range(picks):
                source = argument(row, COMBINE.input) + load_i32(slots + 4 * pick) * argument(row, COMBINE.input_stride)
                value = load_vector_partial(source + 4 * at, size - at)
                total = fma(spread(load_f32(weights + 4 * pick)), value, total)
            store_vector_partial(target + 4 * at, total, size - at)
        chunk = take_chunk(worker, num_chunks)

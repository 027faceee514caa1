"""What every kernel is given: a row of the program, the step's header, the worker's context. All are addresses.

A kernel has the signature `(row, step, worker)`:

- `row`: this operation's arguments, int64 each (addresses, sizes, strides; floats as bits), fixed when a model is
  loaded. `argument(row, i)` and `scalar(row, i)` read them.
- `step`: what changes from step to step (numbers of tokens, addresses of ids, positions and tables): the
  `STEP_*` fields below, read with `field(step, i)`.
- `worker`: the calling thread's own context, the `WORKER_*` fields. `take_chunk(worker, n)` hands out the
  operation's chunks 0 … n−1 to the workers, −1 when none is left or the step is being stopped.
"""

from __future__ import annotations

import numba
from llvmlite import ir
from numba.core import types

from ftllm_nb.kernels.emit import F32, I64, emitted, load
from ftllm_nb.kernels.meeting import LIMIT_SHIFT, workers_worth
from ftllm_nb.kernels.memory import atomic_add, atomic_load, compare_exchange, store_i64

ROW_ARGUMENTS = 31
"""A kernel has at most so many."""
ROW_CHUNK_BYTES = 1 + ROW_ARGUMENTS
"""Field of a row, behind the kernel's address and its arguments: how long a chunk takes for one token, as the bytes of
weights that are read meanwhile; 0: nobody knows. What the fields from here on say is for the walk alone."""
ROW_NEXT = ROW_CHUNK_BYTES + 1
"""Address of the weights that the next operation with any reads, whose first chunk begins there; 0: there are none."""
ROW_NEXT_BYTES = ROW_NEXT + 1
"""Bytes of a chunk of them."""
ROW_NEXT_CHUNKS = ROW_NEXT_BYTES + 1
ROW_FIELDS = ROW_NEXT_CHUNKS + 1
"""int64 fields of a program row."""

STEP_TOKENS = 0
"""Tokens of all sequences of the step, laid end to end."""
STEP_ROWS = 1
"""Tokens whose logits are wanted."""
STEP_TOKEN_IDS = 2
"""Address of int32 [tokens]."""
STEP_POSITIONS = 3
"""Address of int32 [tokens]: each token's position in its sequence."""
STEP_ROW_TOKENS = 4
"""Address of int32 [rows]: which tokens' logits are wanted."""
STEP_SLOTS = 5
"""Address of int64 [groups of layers, tokens]: the address of the cache block that each token's key and value go to."""
STEP_SEQUENCES = 6
"""Address of int64 [sequences, SEQUENCE_FIELDS]."""
STEP_TILES = 7
"""Address of int64 [tiles, TILE_FIELDS]: runs of one sequence's tokens whose attention is one unit of work."""
STEP_NUM_TILES = 8
STEP_SPLITS = 9
"""Address of int64 [splits, SPLIT_FIELDS]: spans of positions of the attention of single tokens."""
STEP_NUM_SPLITS = 10
STEP_MERGES = 11
"""Address of int64 [merges, MERGE_FIELDS]: the single tokens whose parts are to be put together."""
STEP_NUM_MERGES = 12
STEP_PARTIALS = 13
"""Address of the float32 buffer for attention over one span each."""
STEP_STATES = 14
"""Address of int64 [sequences, 2]: the addresses of each sequence's states, and of a list of what they become; see
states.py."""
STEP_NUM_SEQUENCES = 15
STEP_FIELDS = 16

SEQUENCE_TABLES = 0
"""Address of int64 [groups of layers]: the address of each group's int64 [blocks], the addresses of the sequence's
cache blocks in order of position. Those that no token of the step sees may be anything."""
SEQUENCE_FIRST_TOKEN = 1
"""Where the sequence's tokens begin in the step."""
SEQUENCE_START = 2
"""Position of its first token of the step: how many tokens are in the cache already."""
SEQUENCE_LENGTH = 3
"""Tokens in the cache after this step."""
SEQUENCE_FIELDS = 4

TILE_SEQUENCE = 0
"""Index into the table of sequences."""
TILE_FIRST_TOKEN = 1
"""The first token, counted in the step."""
TILE_TOKENS = 2
TILE_FIELDS = 4

SPLIT_SEQUENCE = 0
SPLIT_TOKEN = 1
"""The token, counted in the step."""
SPLIT_FIRST_BLOCK = 2
"""Where the span begins: a multiple of the blocks of a span."""
SPLIT_PARTIAL = 3
"""Where the partial results go, counted in spans."""
SPLIT_FIELDS = 4

MERGE_TOKEN = 0
MERGE_SPANS = 1
MERGE_PARTIAL = 2
"""Where the token's partial results begin, counted in spans."""
MERGE_FIELDS = 4

WORKER_INDEX = 0
WORKER_COUNT = 1
WORKER_STOP = 2
"""Address of the word that asks for a stop."""
WORKER_SCRATCH = 3
"""Address of memory that only this worker uses, 64-byte aligned."""
WORKER_STATE = 4
"""Address of the word of meeting.py."""
WORKER_COUNTERS = 5
"""Address of the counters of chunks, one for each range of them: the operation's number << TAKEN_BITS | how many are
taken. One with another number is one with none taken."""
WORKER_NUMBER = 6
"""The number of the operation under way. The fields from here on are the operation's."""
WORKER_RANGE = 7
"""Which range of the chunks is this worker's own."""
WORKER_RANGES = 8
"""Into how many they are divided."""
WORKER_STEALING = 9
"""How many ranges further on from its own this one takes chunks; 0 at its own."""
WORKER_CHUNK_BYTES = 10
"""See `workers_worth`."""
WORKER_CHUNKS = 11
"""How many chunks there are; −1: nobody knows yet, and this worker, which began the operation, is alone in it."""
WORKER_NEXT = 12
"""Address of the weights that this worker reads in the next operation that reads any, if all take part in it."""
WORKER_FIELDS = 16

TAKEN_BITS = 32
TAKEN_MASK = (1 << TAKEN_BITS) - 1

LINE = 128
"""Words that different threads write lie this many bytes apart: two cache lines, which are fetched in pairs."""


def _load_field(builder: ir.IRBuilder, base: ir.Value, index: ir.Value, kind: ir.Type, begin: int = 0) -> ir.Value:
    place = builder.add(base, ir.Constant(I64, begin))
    return load(builder, builder.add(place, builder.mul(index, ir.Constant(I64, 8))), kind, 8)


@emitted(types.int64, types.int64, types.int64)
def argument(builder, row, index):
    """The integer argument `index` (from 0) of a program row."""
    return _load_field(builder, row, index, I64, 8)


@emitted(types.float32, types.int64, types.int64)
def scalar(builder, row, index):
    """The float32 argument `index` of a program row."""
    return _load_field(builder, row, index, F32, 8)


@emitted(types.int64, types.int64, types.int64)
def field(builder, base, index):
    """The int64 field `index` of a header, a context or a table's row."""
    return _load_field(builder, base, index, I64)


@numba.njit
def _let_others_join(worker, num_chunks):
    """Say how many workers the operation is worth, of which this one, which began it, is one."""
    count = field(worker, WORKER_COUNT)
    store_i64(worker + 8 * WORKER_CHUNKS, num_chunks)
    workers = workers_worth(num_chunks, field(worker, WORKER_CHUNK_BYTES), count)
    if workers < count:
        store_i64(worker + 8 * WORKER_RANGE, 0)
        store_i64(worker + 8 * WORKER_RANGES, workers)
    if workers > 1:
        atomic_add(field(worker, WORKER_STATE), (workers - 1) << LIMIT_SHIFT)


@numba.njit
def take_chunk(worker, num_chunks):
    """The next chunk of the current operation for this worker, or −1.

    Every worker first takes the chunks of its own contiguous range, so that a thread keeps reading the weights
    it touched first, then what is left of the others' ranges, so that a slow or preempted core stalls nobody.
    """
    if atomic_load(field(worker, WORKER_STOP)) != 0:
        return -1
    if field(worker, WORKER_CHUNKS) < 0:
        _let_others_join(worker, num_chunks)
    own, ranges = field(worker, WORKER_RANGE), field(worker, WORKER_RANGES)
    counters, number = field(worker, WORKER_COUNTERS), field(worker, WORKER_NUMBER)
    stealing = field(worker, WORKER_STEALING)
    while stealing < ranges:
        owner = own + stealing
        if owner >= ranges:
            owner -= ranges
        first = num_chunks * owner // ranges
        size = num_chunks * (owner + 1) // ranges - first
        taken = _take_one(counters + owner * LINE, number, size)
        if taken < size:
            return first + taken
        stealing += 1
        store_i64(worker + 8 * WORKER_STEALING, stealing)
    return -1


@numba.njit
def _take_one(counter, number, size):
    """How many were taken before one is, now; none is, if as many as `size` were."""
    found = atomic_load(counter)
    if found >> TAKEN_BITS != number:  # nobody was here in this operation
        if size == 0:
            return 0
        seen = compare_exchange(counter, found, (number << TAKEN_BITS) + 1)
        if seen == found:
            return 0
        found = seen
    if found & TAKEN_MASK >= size:
        return size
    return atomic_add(counter, 1) & TAKEN_MASK

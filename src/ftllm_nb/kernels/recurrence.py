"""Linear recurrences: a matrix of each head, to which each token adds a product of a key and a value.

For a head with the state S [key_dim, value_dim], a token with key k, value v, query q, decay α (of the head, or of each
channel of the key) and rate β:

    S ← α S;   δ = β (v − Sᵀk), or β v;   S ← S + k δᵀ;   output = scale · Sᵀq + skip · v

Columns of S know nothing of each other. So 32 columns of a head stay in the first cache while tokens of the sequence go
by, one after the other: each token has the same arithmetic however a prompt is cut. A chunk is such columns, or, where
a sequence has many tokens in the step, all of a head's, in turns. One pass over the columns adds a token and finds what
the next one needs of the sum. A state lies in memory as [heads, blocks of 32 columns, key_dim, 32], of float32 or of
float16: then S is rounded after each token, for the same reason, once its output is read.
"""

from __future__ import annotations

from typing import Any

import numba

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.memory import fetch_lines, load_f32
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.simd import (
    fma,
    load_halves,
    load_vector,
    load_vector_partial,
    rounded_to_halves,
    spread,
    store_halves,
    store_vector,
    store_vector_partial,
    store_vector_past_caches,
)
from ftllm_nb.kernels.states import (
    PART_BYTES,
    first_part,
    first_token,
    old_states,
    part_before,
    part_end,
    part_states,
    token_count,
)
from ftllm_nb.kernels.step import STEP_NUM_SEQUENCES, argument, field, scalar, take_chunk

RECURRENCE = row_fields(
    "query", "query_stride", "key", "key_stride", "value", "value_stride", "decay", "decay_stride", "rate",
    "rate_stride", "output", "output_stride", "state", "heads", "key_heads", "key_dim", "value_dim", "scale", "skip",
    "leaves",
)  # fmt: skip
"""`heads`: of values, each of which uses key head ⌊head · key_heads / heads⌋; `skip`: address of a factor for each
head, 0 for none; `leaves`: whether the states after a step are written past the caches."""
COLUMNS = 32
"""Of a head's state that are taken through tokens at once."""
TOKENS_AT_ONCE = 64
"""Through which a head's columns are taken, one block of them after the other: rows of a head's keys and queries lie
far apart, in few places of the second cache, which does not hold those of many more."""


@numba.njit
def _longest(step):
    """The most tokens of a sequence in the step."""
    longest = 0
    for sequence in range(field(step, STEP_NUM_SEQUENCES)):
        longest = max(longest, token_count(step, sequence))
    return longest


def _recurrence(name: str, corrects: bool, by_channel: bool, is_half: bool = False) -> Kernel:
    """A kernel. `corrects`: what is known of the key is taken from the value; `by_channel`: decays are of channels;
    `is_half`: states are float16."""
    vector_bytes = 32 if is_half else 64
    row_bytes = 2 * vector_bytes

    @numba.njit(inline="always")
    def load_columns(place):
        """16 columns of the state."""
        return load_halves(place) if is_half else load_vector(place)

    @numba.njit(inline="always")
    def keep_columns(place, columns):
        """Write them; what later tokens find there."""
        if is_half:
            store_halves(place, columns)
            columns = rounded_to_halves(columns)
        else:
            store_vector(place, columns)
        return columns

    def pass_over_columns(leaves: bool) -> Any:
        """`leaves`: the token is the step's last, after which the state is not read for long. So it is written past the
        caches, which then need not read what was there; the walk's atomics order that before the next operation."""

        @numba.njit(inline="always")
        def advance(source, target, query, key, decay, next_key, next_decay, key_dim, kept, delta0, delta1):
            """Add a token to the columns: what its query reads of them, and what they know of the next key."""
            read0, read1 = spread(0.0), spread(0.0)
            known0, known1 = spread(0.0), spread(0.0)
            for at in range(key_dim):
                if by_channel:
                    kept = spread(load_f32(decay + 4 * at))
                factor = spread(load_f32(key + 4 * at))
                state0 = fma(factor, delta0, load_columns(source + row_bytes * at) * kept)
                state1 = fma(factor, delta1, load_columns(source + row_bytes * at + vector_bytes) * kept)
                asked = spread(load_f32(query + 4 * at))
                read0, read1 = fma(asked, state0, read0), fma(asked, state1, read1)
                if leaves and not is_half:
                    store_vector_past_caches(target + row_bytes * at, state0)
                    store_vector_past_caches(target + row_bytes * at + vector_bytes, state1)
                else:
                    state0 = keep_columns(target + row_bytes * at, state0)
                    state1 = keep_columns(target + row_bytes * at + vector_bytes, state1)
                if corrects and not leaves:
                    factor = key_of(next_key, next_decay, at)
                    known0, known1 = fma(factor, state0, known0), fma(factor, state1, known1)
            return read0, read1, known0, known1

        return advance

    advance, advance_and_leave = pass_over_columns(False), pass_over_columns(True)

    @numba.njit(inline="always")
    def key_of(key, decay, at):
        """A key's channel, as the state before its decay is to be multiplied by."""
        number = load_f32(key + 4 * at)
        if by_channel:
            number = number * load_f32(decay + 4 * at)
        return spread(number)

    @kernel(variant=name)
    def recurrence(row, step, worker):
        heads, key_heads = argument(row, RECURRENCE.heads), argument(row, RECURRENCE.key_heads)
        key_dim, value_dim = argument(row, RECURRENCE.key_dim), argument(row, RECURRENCE.value_dim)
        query_stride, key_stride = argument(row, RECURRENCE.query_stride), argument(row, RECURRENCE.key_stride)
        value_stride, decay_stride = argument(row, RECURRENCE.value_stride), argument(row, RECURRENCE.decay_stride)
        rate_stride, output_stride = argument(row, RECURRENCE.rate_stride), argument(row, RECURRENCE.output_stride)
        skip, scale = argument(row, RECURRENCE.skip), spread(scalar(row, RECURRENCE.scale))
        leaves = argument(row, RECURRENCE.leaves) != 0
        blocks = (value_dim + COLUMNS - 1) // COLUMNS
        at_once = blocks if _longest(step) > TOKENS_AT_ONCE else 1
        of_head = (blocks + at_once - 1) // at_once
        num_chunks = field(step, STEP_NUM_SEQUENCES) * heads * of_head
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            sequence, head = chunk // (heads * of_head), chunk // of_head % heads
            first_block = chunk % of_head * at_once
            first, count = first_token(step, sequence), token_count(step, sequence)
            key_at = head * key_heads // heads * key_dim * 4
            for visit in range((count + TOKENS_AT_ONCE - 1) // TOKENS_AT_ONCE * at_once):
                begin_token, block = visit // at_once * TOKENS_AT_ONCE, first_block + visit % at_once
                end_token = min(begin_token + TOKENS_AT_ONCE, count)
                row_of_step = first + begin_token
                at_state = argument(row, RECURRENCE.state) + (head * blocks + block) * key_dim * row_bytes
                part = part_before(first_part(step, sequence), begin_token)
                target, end = part_states(part) + at_state, part_end(part)
                source = old_states(step, sequence) + at_state if begin_token == 0 else target
                query = argument(row, RECURRENCE.query) + row_of_step * query_stride + key_at
                key = argument(row, RECURRENCE.key) + row_of_step * key_stride + key_at
                value_at = (head * value_dim + block * COLUMNS) * 4
                value = argument(row, RECURRENCE.value) + row_of_step * value_stride + value_at
                out = argument(row, RECURRENCE.output) + row_of_step * output_stride + value_at
                decay = argument(row, RECURRENCE.decay) + row_of_step * decay_stride
                decay += 4 * head * key_dim if by_channel else 4 * head
                rate = argument(row, RECURRENCE.rate) + row_of_step * rate_stride + 4 * head
                left = value_dim - block * COLUMNS
                known0, known1 = spread(0.0), spread(0.0)
                if corrects:
                    for at in range(key_dim):
                        factor = key_of(key, decay, at)
                        known0 = fma(factor, load_columns(source + row_bytes * at), known0)
                        known1 = fma(factor, load_columns(source + row_bytes * at + vector_bytes), known1)
                for token in range(begin_token, end_token):
                    if token == end:
                        part += PART_BYTES
                        target, end = part_states(part) + at_state, part_end(part)
                    given0, given1 = load_vector_partial(value, left), load_vector_partial(value + 64, left - 16)
                    delta0, delta1 = given0, given1
                    kept = spread(load_f32(decay))
                    if corrects:
                        if not by_channel:
                            known0, known1 = known0 * kept, known1 * kept
                        delta0, delta1 = given0 - known0, given1 - known1
                    times = spread(load_f32(rate))
                    delta0, delta1 = delta0 * times, delta1 * times
                    next_key, next_decay = key, decay
                    if token + 1 < end_token:
                        next_key, next_decay = key + key_stride, decay + decay_stride
                    # Rows of one head lie far apart: no hardware foresees the next.
                    if token + 2 < count:
                        fetch_lines(key + 2 * key_stride, 4 * key_dim)
                        fetch_lines(query + 2 * query_stride, 4 * key_dim)
                        fetch_lines(value + 4 * value_stride, 4 * COLUMNS)
                        fetch_lines(out + 4 * output_stride, 4 * COLUMNS)
                    if token + 1 == count and leaves:
                        read0, read1, known0, known1 = advance_and_leave(
                            source, target, query, key, decay, next_key, next_decay, key_dim, kept, delta0, delta1
                        )
                    else:
                        read0, read1, known0, known1 = advance(
                            source, target, query, key, decay, next_key, next_decay, key_dim, kept, delta0, delta1
                        )
                    read0, read1 = read0 * scale, read1 * scale
                    if skip != 0:
                        share = spread(load_f32(skip + 4 * head))
                        read0, read1 = fma(share, given0, read0), fma(share, given1, read1)
                    store_vector_partial(out, read0, left)
                    store_vector_partial(out + 64, read1, left - 16)
                    source, key, decay = target, next_key, next_decay
                    query += query_stride
                    value += value_stride
                    out += output_stride
                    rate += rate_stride
            chunk = take_chunk(worker, num_chunks)

    return recurrence


gated_delta_rule = _recurrence("delta", corrects=True, by_channel=False)
gated_delta_rule_by_channel = _recurrence("delta_by_channel", corrects=True, by_channel=True)
selective_scan = _recurrence("plain", corrects=False, by_channel=False)
OF_HALVES = {
    gated_delta_rule: _recurrence("delta_half", corrects=True, by_channel=False, is_half=True),
    gated_delta_rule_by_channel: _recurrence("delta_by_channel_half", corrects=True, by_channel=True, is_half=True),
    selective_scan: _recurrence("plain_half", corrects=False, by_channel=False, is_half=True),
}
"""The same for states of float16."""

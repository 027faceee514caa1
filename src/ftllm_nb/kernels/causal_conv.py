"""A convolution along the tokens of each sequence, channel by channel, whose last inputs are kept as a state."""

from __future__ import annotations

import numba

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.exp import sigmoid
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.simd import fma, load_vector, store_vector
from ftllm_nb.kernels.states import (
    PART_BYTES,
    first_part,
    first_token,
    old_states,
    part_end,
    part_states,
    token_count,
)
from ftllm_nb.kernels.step import STEP_NUM_SEQUENCES, argument, field, take_chunk

CONV = row_fields(
    "input", "input_stride", "output", "output_stride", "weight", "bias", "state", "channels", "taps",
    "silu",
)  # fmt: skip
"""`channels`: filled up to whole vectors, as rows of activations are; `weight`: [taps, channels]; `state`: [taps − 1,
channels], the oldest first."""
_CHANNELS_AT_ONCE = 512
_TOKENS_AT_ONCE = 32
"""A token's inputs lie side by side, so that hardware foresees the next ones: those of the next token are far away."""


@numba.njit(inline="always")
def _input_of(source, stride, tail, channels, taps, token):
    """The address of a token's inputs, of those before the step in the tail."""
    place = source + token * stride
    if token < 0:
        place = tail + (taps - 1 + token) * channels * 4
    return place


@numba.njit
def _keep_tails(row, step, sequence, begin_token, end_token, begin, end):
    """Write a run of channels of the tails after those parts of a sequence that end within a run of its tokens."""
    channels, taps, stride = argument(row, CONV.channels), argument(row, CONV.taps), argument(row, CONV.input_stride)
    state = argument(row, CONV.state)
    source = argument(row, CONV.input) + first_token(step, sequence) * stride
    old = old_states(step, sequence) + state
    part = first_part(step, sequence)
    while part_end(part) <= begin_token:
        part += PART_BYTES
    done = begin_token
    while done < end_token:
        done = part_end(part)
        if done <= end_token:
            new = part_states(part) + state
            for tap in range(taps - 1):
                place = _input_of(source, stride, old, channels, taps, done + tap - taps + 1)
                for at in range(begin, end, 16):
                    kept = load_vector(place + 4 * at)
                    store_vector(new + tap * channels * 4 + 4 * at, kept)
        part += PART_BYTES


@kernel()
def causal_conv(row, step, worker):
    """output[t] = bias + Σ weight[i] · input[t − taps + 1 + i], and its silu if so asked. A chunk is a run of channels
    of a run of a sequence's tokens."""
    channels, taps, weight = argument(row, CONV.channels), argument(row, CONV.taps), argument(row, CONV.weight)
    stride, is_silu = argument(row, CONV.input_stride), argument(row, CONV.silu) != 0
    runs = (channels + _CHANNELS_AT_ONCE - 1) // _CHANNELS_AT_ONCE
    num_sequences, num_chunks = field(step, STEP_NUM_SEQUENCES), 0
    for each in range(num_sequences):
        num_chunks += _token_runs(step, each) * runs
    sequence, before = 0, 0
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        if chunk < before:
            sequence, before = 0, 0
        while chunk >= before + _token_runs(step, sequence) * runs:
            before += _token_runs(step, sequence) * runs
            sequence += 1
        begin_token, begin = (chunk - before) // runs * _TOKENS_AT_ONCE, (chunk - before) % runs * _CHANNELS_AT_ONCE
        end_token = min(begin_token + _TOKENS_AT_ONCE, token_count(step, sequence))
        end = min(begin + _CHANNELS_AT_ONCE, channels)
        tail = old_states(step, sequence) + argument(row, CONV.state)
        first = first_token(step, sequence)
        source = argument(row, CONV.input) + first * stride
        for token in range(begin_token, end_token):
            out = argument(row, CONV.output) + (first + token) * argument(row, CONV.output_stride)
            from_tail = max(0, taps - 1 - token)
            before_step = _input_of(source, stride, tail, channels, taps, token - taps + 1)
            place = source + (token - taps + 1) * stride
            for at in range(4 * begin, 4 * end, 64):
                total = load_vector(argument(row, CONV.bias) + at)
                for tap in range(from_tail):
                    factor = load_vector(weight + tap * channels * 4 + at)
                    total = fma(factor, load_vector(before_step + tap * channels * 4 + at), total)
                for tap in range(from_tail, taps):
                    factor = load_vector(weight + tap * channels * 4 + at)
                    total = fma(factor, load_vector(place + tap * stride + at), total)
                if is_silu:
                    total = total * sigmoid(total)
                store_vector(out + at, total)
        _keep_tails(row, step, sequence, begin_token, end_token, begin, end)
        chunk = take_chunk(worker, num_chunks)


@numba.njit(inline="always")
def _token_runs(step, sequence):
    """In how many runs a sequence's tokens of the step come."""
    return (token_count(step, sequence) + _TOKENS_AT_ONCE - 1) // _TOKENS_AT_ONCE

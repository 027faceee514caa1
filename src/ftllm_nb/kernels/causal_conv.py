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
_CHANNELS_AT_ONCE = 128


@numba.njit(inline="always")
def _input_of(source, stride, tail, channels, taps, token):
    """The address of a token's inputs, of those before the step in the tail."""
    place = source + token * stride
    if token < 0:
        place = tail + (taps - 1 + token) * channels * 4
    return place


@kernel()
def causal_conv(row, step, worker):
    """output[t] = bias + Σ weight[i] · input[t − taps + 1 + i], and its silu if so asked. A chunk is a run of channels
    of a sequence."""
    channels, taps, state = argument(row, CONV.channels), argument(row, CONV.taps), argument(row, CONV.state)
    stride, is_silu = argument(row, CONV.input_stride), argument(row, CONV.silu) != 0
    runs = (channels + _CHANNELS_AT_ONCE - 1) // _CHANNELS_AT_ONCE
    num_chunks = runs * field(step, STEP_NUM_SEQUENCES)
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        sequence, begin = chunk // runs, chunk % runs * _CHANNELS_AT_ONCE
        end = min(begin + _CHANNELS_AT_ONCE, channels)
        old = old_states(step, sequence) + state
        first, count = first_token(step, sequence), token_count(step, sequence)
        source = argument(row, CONV.input) + first * stride
        out = argument(row, CONV.output) + first * argument(row, CONV.output_stride)
        for token in range(count):
            for at in range(begin, end, 16):
                total = load_vector(argument(row, CONV.bias) + 4 * at)
                for tap in range(taps):
                    place = _input_of(source, stride, old, channels, taps, token + tap - taps + 1)
                    factor = load_vector(argument(row, CONV.weight) + tap * channels * 4 + 4 * at)
                    total = fma(factor, load_vector(place + 4 * at), total)
                if is_silu:
                    total = total * sigmoid(total)
                store_vector(out + 4 * at, total)
            out += argument(row, CONV.output_stride)
        part, done = first_part(step, sequence), 0
        while done < count:
            done, new = part_end(part), part_states(part) + state
            for tap in range(taps - 1):
                place = _input_of(source, stride, old, channels, taps, done + tap - taps + 1)
                for at in range(begin, end, 16):
                    kept = load_vector(place + 4 * at)
                    store_vector(new + tap * channels * 4 + 4 * at, kept)
            part += PART_BYTES
        chunk = take_chunk(worker, num_chunks)

"""Each token's features in another order."""

from __future__ import annotations

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.memory import load_f32, load_i32, store_f32
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.step import argument, field, take_chunk

ORDER = row_fields("input", "input_stride", "output", "output_stride", "order", "size", "count")
"""Arguments of the rows. `order`: the address of int32 [size]; `count`: the step's field with the number of tokens."""
_FEATURES_AT_ONCE = 1024


@kernel()
def order_features(row, step, worker):
    """output[i] = input[order[i]]. A chunk is a run of features of a token."""
    size, order = argument(row, ORDER.size), argument(row, ORDER.order)
    runs = (size + _FEATURES_AT_ONCE - 1) // _FEATURES_AT_ONCE
    num_chunks = runs * field(step, argument(row, ORDER.count))
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        token, begin = chunk // runs, chunk % runs * _FEATURES_AT_ONCE
        source = argument(row, ORDER.input) + token * argument(row, ORDER.input_stride)
        target = argument(row, ORDER.output) + token * argument(row, ORDER.output_stride)
        for at in range(begin, min(begin + _FEATURES_AT_ONCE, size)):
            store_f32(target + 4 * at, load_f32(source + 4 * load_i32(order + 4 * at)))
        chunk = take_chunk(worker, num_chunks)

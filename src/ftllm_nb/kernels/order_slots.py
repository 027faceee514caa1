"""Each slot's features in the order of its expert's columns, quantized: experts have orders of their own."""

from __future__ import annotations

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.experts import UNIT_BYTES, UNITS_HEAD
from ftllm_nb.kernels.memory import load_f32, load_i32, load_i64, store_f32
from ftllm_nb.kernels.quantize import quantize_groups
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, take_chunk

ORDER_SLOTS = row_fields("input", "input_stride", "output", "output_stride", "orders", "size", "columns", "group",
                         "middle", "units", "tokens")  # fmt: skip
"""Arguments of the rows. `input`: float32 [size], a row for each token, or where `tokens` is 0 for each slot. `orders`:
int64 [experts], the addresses of int32 [size] each, 0 for the order in which features lie. They become `columns`, zeros
at the end, in groups of `group`, with `middle` (quantize.py); `units` and `tokens` as of `route` (experts.py)."""


@kernel()
def order_slots(row, step, worker):
    """output[slot] = the slot's features in its expert's order, quantized. A chunk is a unit."""
    units, orders, tokens = (
        argument(row, ORDER_SLOTS.units),
        argument(row, ORDER_SLOTS.orders),
        argument(row, ORDER_SLOTS.tokens),
    )
    size, columns, group = (
        argument(row, ORDER_SLOTS.size),
        argument(row, ORDER_SLOTS.columns),
        argument(row, ORDER_SLOTS.group),
    )
    floats = field(worker, WORKER_SCRATCH)
    num_chunks = load_i64(units)
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        unit = units + UNITS_HEAD + UNIT_BYTES * chunk
        order, first = load_i64(orders + 8 * load_i64(unit)), load_i64(unit + 8)
        for slot in range(first, first + load_i64(unit + 16)):
            place = slot
            if tokens != 0:
                place = load_i32(tokens + 4 * slot)
            source = argument(row, ORDER_SLOTS.input) + place * argument(row, ORDER_SLOTS.input_stride)
            for at in range(size):
                here = at
                if order != 0:
                    here = load_i32(order + 4 * at)
                store_f32(floats + 4 * at, load_f32(source + 4 * here))
            for at in range(size, columns):
                store_f32(floats + 4 * at, 0.0)
            target = argument(row, ORDER_SLOTS.output) + slot * argument(row, ORDER_SLOTS.output_stride)
            quantize_groups(
                floats, target, columns, group, 0, columns // group, argument(row, ORDER_SLOTS.middle)
            )
        chunk = take_chunk(worker, num_chunks)

"""The largest number of each run of a row: what the choice of the next token begins with."""

from __future__ import annotations

import numpy as np

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.memory import store_f32
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.simd import (
    fma,
    lane_numbers,
    load_vector_partial,
    max_lanes,
    maximum,
    select,
    spread,
    spread_int,
    sum_lanes,
)
from ftllm_nb.kernels.step import argument, field, take_chunk

RUN = 2048
"""Numbers of a run: few enough to be looked through once more for the place of the largest."""

PEAKS = row_fields("input", "stride", "size", "output", "count")
"""Arguments of the row: the rows' address, bytes from row to row, numbers of a row, where float32 [rows, runs] goes,
the step's field with the number of rows."""


@kernel()
def peaks(row, step, worker):
    """The largest number of each run of each row; NaN where one of the run is NaN or infinite. A chunk is a run."""
    size = argument(row, PEAKS.size)
    runs = (size + RUN - 1) // RUN
    num_chunks = runs * field(step, argument(row, PEAKS.count))
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        source = argument(row, PEAKS.input) + chunk // runs * argument(row, PEAKS.stride)
        begin = chunk % runs * RUN
        end = min(begin + RUN, size)
        largest, zeros = spread(-np.inf), spread(0.0)
        for at in range(begin, end, 16):
            value = load_vector_partial(source + 4 * at, end - at)
            zeros = fma(value, spread(0.0), zeros)
            largest = maximum(largest, select(lane_numbers() < spread_int(end - at), value, largest))
        store_f32(argument(row, PEAKS.output) + 4 * chunk, max_lanes(largest) + sum_lanes(zeros))
        chunk = take_chunk(worker, num_chunks)

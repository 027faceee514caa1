"""Which experts a token goes to: the largest of its scores."""

from __future__ import annotations

import numba
import numpy as np

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.memory import copy_bytes, load_f32, store_f32
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.runs import soften
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, scalar, take_chunk

NORM_NONE, NORM_SUM, NORM_SOFTMAX, NORM_MIXER = range(4)
"""What is done with the picked scores: nothing; divided by their sum; their softmax; each one's part of the softmax
over the experts that were left when it was picked, and are not too far below it."""

SELECT = row_fields("input", "input_stride", "index", "index_stride", "score", "score_stride", "experts", "picks",
                    "bias", "factors", "groups", "top_groups", "group_top", "norm", "scale", "epsilon", "least",
                    "apart", "count")  # fmt: skip
"""Arguments of `select_expert`'s rows. `bias`: float32 [experts], added before choosing; `factors`: float32 [experts],
by which weights are multiplied, or 0. `groups`: into how many groups of neighbours the experts fall, of which the
`top_groups` best stay, by the sum of their `group_top` best. `norm`: of the constants above; `epsilon` is added to the
sum, which is at least `least`; `apart`: how far below a pick, as a share of the larger of both, experts are left out of
its softmax. `count`: the step's field with the number of tokens."""


def select_scratch_bytes(experts: int) -> int:
    """Private memory that a worker needs: scores to choose by, a group's copy of them, and sums of groups."""
    return 3 * 4 * experts


@numba.njit
def _take_best(values, count):
    """The place of the largest of some values, the first of equal ones, which becomes minus infinity."""
    best, largest = 0, load_f32(values)
    for at in range(1, count):
        value = load_f32(values + 4 * at)
        if value > largest:
            best, largest = at, value
    store_f32(values + 4 * best, np.float32(-np.inf))
    return best


@numba.njit
def _keep_groups(values, experts, groups, top_groups, group_top, scratch):
    """Set the values of all but the best groups to minus infinity."""
    size, sums = experts // groups, scratch + 4 * experts
    for group in range(groups):
        begin, total = values + 4 * size * group, np.float32(0.0)
        copy_bytes(scratch, begin, 4 * size)
        for _ in range(group_top):
            total += load_f32(begin + 4 * _take_best(scratch, size))
        store_f32(sums + 4 * group, total)
    for group in range(groups):
        store_f32(scratch + 4 * group, np.float32(0.0))
    for _ in range(top_groups):
        store_f32(scratch + 4 * _take_best(sums, groups), np.float32(1.0))
    for group in range(groups):
        if load_f32(scratch + 4 * group) == 0:
            for at in range(group * size, (group + 1) * size):
                store_f32(values + 4 * at, np.float32(-np.inf))


@numba.njit
def _mix(values, experts, expert, best, apart, scratch):
    """The weight of an expert that was taken from the values, by a sparse mixer."""
    for at in range(experts):
        value = best if at == expert else load_f32(values + 4 * at)
        if best - value > apart * max(abs(value), best):
            value = np.float32(-np.inf)
        store_f32(scratch + 4 * at, value)
    soften(scratch, scratch, experts)
    return load_f32(scratch + 4 * expert)


@kernel()
def select_expert(row, step, worker):
    """Each token's best experts, best first, and their weights. A chunk is a token."""
    experts, picks = argument(row, SELECT.experts), argument(row, SELECT.picks)
    bias, factors, norm = argument(row, SELECT.bias), argument(row, SELECT.factors), argument(row, SELECT.norm)
    values = field(worker, WORKER_SCRATCH)
    num_tokens = field(step, argument(row, SELECT.count))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, SELECT.input) + token * argument(row, SELECT.input_stride)
        index = argument(row, SELECT.index) + token * argument(row, SELECT.index_stride)
        score = argument(row, SELECT.score) + token * argument(row, SELECT.score_stride)
        for expert in range(experts):
            store_f32(values + 4 * expert, load_f32(source + 4 * expert) + load_f32(bias + 4 * expert))
        groups, top_groups = argument(row, SELECT.groups), argument(row, SELECT.top_groups)
        if top_groups < groups:
            scratch = values + 4 * experts
            _keep_groups(values, experts, groups, top_groups, argument(row, SELECT.group_top), scratch)
        total = np.float32(0.0)
        for pick in range(picks):
            expert = _take_best(values, experts)
            picked = load_f32(source + 4 * expert)
            total += picked
            if norm == NORM_MIXER:
                apart = scalar(row, SELECT.apart)
                picked = _mix(values, experts, expert, picked, apart, values + 4 * experts)
            store_f32(index + 4 * pick, np.float32(expert))
            store_f32(score + 4 * pick, picked)
        if norm == NORM_SOFTMAX:
            soften(score, score, picks)
        factor = scalar(row, SELECT.scale)
        if norm == NORM_SUM:
            factor /= max(total + scalar(row, SELECT.epsilon), scalar(row, SELECT.least))
        for pick in range(picks):
            weight = load_f32(score + 4 * pick) * factor
            if factors != 0:
                weight *= load_f32(factors + 4 * int(load_f32(index + 4 * pick)))
            store_f32(score + 4 * pick, weight)
        token = take_chunk(worker, num_tokens)

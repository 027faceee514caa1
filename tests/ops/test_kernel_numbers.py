"""Numbers that shape rules need before any kernel is imported are the kernels' own."""

from __future__ import annotations

from ftllm_nb.kernels import recurrence, runs, select_expert
from ftllm_nb.ops import permute, recurrences
from ftllm_nb.ops import select_expert as selecting


def test_numbers_that_operators_and_kernels_both_have_are_equal() -> None:
    assert permute.MOST_AXES == runs.PERMUTED_AXES
    assert recurrences.CHUNK_COLUMNS == recurrence.COLUMNS
    kernel = select_expert.NORM_NONE, select_expert.NORM_SUM, select_expert.NORM_SOFTMAX, select_expert.NORM_MIXER
    assert tuple(selecting.NORMS) == kernel

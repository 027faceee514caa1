"""Experts of a packed folder that are used where they lie in its files, so that memory need not hold all of them.

A token reads few of them, and the system keeps the pages that are read most. What every token reads is copied, into
large pages, and so are experts that memory holds twice, once as pages of their file: a copy is never slower, and a
second start finds the file in memory.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.packed_loading import packed_size, require_size
from ftllm_nb.engine.weight_types import WeightTypes, weights_where
from ftllm_nb.graph.ir import CheckedGraph, Value
from ftllm_nb.host_memory import available_bytes
from ftllm_nb.quant.base import WeightFormat

COPIED_SHARE = 0.5
"""Of the free memory, what weights may take where experts are copied with the others."""


def packed_experts(graph: CheckedGraph, checkpoint: Checkpoint) -> set[Value]:
    """The matrices of experts that the checkpoint holds as they lie in memory."""
    experts = weights_where(graph, lambda parameter: parameter.by_expert)
    return {value for value in experts if value.computed is None and checkpoint.is_packed(value.name)}


def stays_in_place(graph: CheckedGraph, checkpoint: Checkpoint, weight_types: WeightTypes) -> str | None:
    """A sentence where experts are to stay in their files, since the free memory is little; None where all weights are
    copied."""
    experts, free = packed_experts(graph, checkpoint), available_bytes()
    if not experts or free is None:
        return None
    format_of = weight_types.formats(graph)
    sizes = {value: packed_size(value, format_of(value)) for value in graph.packed}
    total, of_experts = sum(sizes.values()), sum(sizes[value] for value in experts)
    if total <= COPIED_SHARE * free:
        return None
    return (
        f"the weights, {shown_bytes(total)}, are more than half of the free memory, {shown_bytes(free)}: experts, "
        f"{shown_bytes(of_experts)}, are used where they lie in {checkpoint.path}, and the system keeps in memory what "
        "it has room for."
    )


def placed_by(experts: set[Value], checkpoint: Checkpoint) -> Callable[[Value, WeightFormat], NDArray[np.uint8] | None]:
    """What `lower` asks for the packed bytes of a matrix: those in the checkpoint's file, of `experts`. Raises
    `CheckpointError` where a file holds another number of bytes than the matrix takes."""

    def placed(weight: Value, format: WeightFormat) -> NDArray[np.uint8] | None:
        if weight not in experts:
            return None
        require_size(weight, format, checkpoint)
        return checkpoint.mapped(weight.name)

    return placed

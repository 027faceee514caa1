"""Which operator's kernel computes something else than its NumPy reference.

Kernels often stand for several operators, so that the graph which is run lacks values of the one that was described:
those that both have are compared, each right after the kernel that writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.evaluation import Evaluation
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.graph.ir import Node, Value, rows_symbol
from ftllm_nb.graph.rewriting import makers_of
from ftllm_nb.verification.reference import distance
from ftllm_nb.verification.verdict import StepFault, shown_call

LEAST = 1e-3
"""The relative difference up to which kernels, which sum in another order, are called equal."""


def kernel_fault(
    checkpoint: Checkpoint, expected: Evaluation, lengths: Sequence[int], threads: int, tolerance: float
) -> StepFault | None:
    """The first operator whose kernel writes something else than `expected`, of the same tokens at once; None where
    the logits are equal. `lengths`: of the steps. Weights and caches are float32."""
    graph, tokens = expected.graph, expected.token_ids
    executor = CompiledExecutor(
        graph, checkpoint, weight_types=WeightTypes("float32"), kv_cache_dtype="float32", threads=threads
    )
    limit, found, rows = max(tolerance, LEAST), _Differences(expected), []
    try:
        most = executor.max_step_tokens
        pieces = [min(most, length - begin) for length in lengths for begin in range(0, length, most)]
        sequence = executor.cache.new_sequence()
        for end, length in zip(accumulate(pieces), pieces, strict=True):
            found.begin, found.length = end - length, length
            step = SequenceStep(sequence, tokens[end - length : end], length)
            rows.append(executor.run_watched([step], found.see).copy())
    finally:
        executor.close()
    apart = distance(np.concatenate(rows), expected.logits)
    if apart <= limit:
        return None
    first = found.first(limit)
    lines = [
        f"the graph is right, and its kernels are not: their logits differ by {apart:.2g} of their size from those of "
        "the operators' NumPy references"
    ]
    if first is None:
        return StepFault(lines[0], None)
    node, value, difference, length, position = first
    calls = [each.call for each in _stands_for(node, expected)] or [node.call]
    fused = f", run as {node.operator.name}" if node.operator is not node.call.operator else ""
    lines.append(f"they part at {', '.join(map(shown_call, calls))}{fused}")
    tokens_read = "1 token" if length == 1 else f"{length} tokens"
    lines.append(
        f'  its kernel writes data["{value.name}"], which differs by {difference:.2g} of its size, in a step of '
        f"{tokens_read} from position {position} on; what was written before agrees"
    )
    weights = [each.tensor for each in node.inputs.values() if each.kind == "weight"]
    if weights:
        lines.append(f"  its weights are {', '.join(weights)}")
    own = next((call for call in calls if call.is_users_own), None)
    lines.append(
        "  the operator is the file's own: compare its kernel with its reference()"
        if own is not None
        else "  that is a fault of this package, which --engine reference does not have: please report it"
    )
    return StepFault("\n".join(lines), own or calls[-1])


class _Differences:
    """How far each value that a kernel writes is from what is expected of the tokens `begin` to `begin` + `length`."""

    def __init__(self, expected: Evaluation) -> None:
        self.expected = expected
        self.begin = self.length = 0
        self.order: dict[Value, Node] = {}
        self.largest: dict[Value, tuple[float, int, int]] = {}

    def see(self, node: Node, value: Value, array: NDArray[np.float32]) -> None:
        """What `CompiledExecutor.run_watched` shows."""
        whole = self.expected.arrays.get(value)
        if whole is None or rows_symbol(value) is None:
            return
        self.order.setdefault(value, node)
        difference = distance(array, whole[:, self.begin : self.begin + self.length])
        if value not in self.largest or difference > self.largest[value][0]:
            self.largest[value] = difference, self.length, self.begin

    def first(self, limit: float) -> tuple[Node, Value, float, int, int] | None:
        """The first value of the graph that differs by more: who writes it, how far, in how long a step, from where."""
        for value, node in self.order.items():
            if self.largest[value][0] > limit:
                return node, value, *self.largest[value]
        return None


def _stands_for(node: Node, expected: Evaluation) -> list[Node]:
    """The nodes of the described graph that this one computes: from what it reads to what it writes."""
    makers, known = makers_of(expected.graph.nodes), set(node.inputs.values())
    found: dict[Node, None] = {}
    waiting = [value for value in node.outputs.values() if value not in known]
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is None or maker in found:
            continue
        found[maker] = None
        waiting += [value for value in maker.inputs.values() if value not in known]
    return sorted(found, key=lambda each: each.call.index)

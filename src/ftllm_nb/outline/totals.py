"""What a whole graph takes: weights, operations for a token, and what is kept of a sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.checkpoint import TensorInfo
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.outline.steps import Step, numbers_of, stored_bytes, stored_type


@dataclass(frozen=True)
class Totals:
    """`calls`: of build(), among which are those that change nothing, or are one operator with others. `weight_bytes`:
    in the file, by type; tied weights once. `operations`, `attended`, `position_bytes`, `sequence_bytes`: as of a
    step."""

    operators: int
    calls: int
    weights: int
    parameters: int
    weight_bytes: Mapping[str, int]
    operations: int
    attended: int
    position_bytes: int
    sequence_bytes: int


def totals_of(steps: list[Step], graph: CheckedGraph, tensors: Mapping[str, TensorInfo]) -> Totals:
    """The sums over all operators."""
    weights = list(dict.fromkeys(value for step in steps for weight in step.weights for value in weight.values))
    by_type: Counter[str] = Counter()
    for value in weights:
        by_type[stored_type(value, tensors)] += stored_bytes(value, tensors)
    return Totals(
        operators=len(steps),
        calls=max((step.number for step in steps), default=-1) + 1,
        weights=len(weights),
        parameters=sum(map(numbers_of, weights)),
        weight_bytes=dict(by_type.most_common()),
        operations=sum(step.operations for step in steps),
        attended=sum(step.attended for step in steps),
        position_bytes=sum(step.position_bytes for step in steps),
        sequence_bytes=sum(step.sequence_bytes for step in steps),
    )


def total_lines(totals: Totals) -> list[str]:
    """The totals as lines of text."""
    types = ", ".join(f"{shown_bytes(size)} {name}" for name, size in totals.weight_bytes.items())
    lines = [
        f"operators  {totals.operators}{_numbering(totals)}",
        f"weights    {totals.weights} with {shown_count(totals.parameters)} numbers: {types}",
        f"FLOPs      {shown_count(totals.operations)} a token"
        + (f", and {shown_count(totals.attended)} for each position that it sees" if totals.attended else ""),
    ]
    kept = [f"{shown_kilobytes(totals.position_bytes)} for each position, as float16"] * bool(totals.position_bytes)
    kept += [f"{shown_kilobytes(totals.sequence_bytes)} for each sequence"] * bool(totals.sequence_bytes)
    return [*lines, f"state      {', '.join(kept) or 'none'}"]


def _numbering(totals: Totals) -> str:
    """Why the numbers of operators go further than their count, where they do."""
    return f" of {totals.calls} calls, whose numbers they have" if totals.calls > totals.operators else ""


def shown_count(number: float) -> str:
    """`1.23 G`, `45.6 M`, `789 k`, of large numbers; small ones as they are."""
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:g}"


def shown_kilobytes(size: int) -> str:
    """A size that may be below a megabyte."""
    return shown_bytes(size) if size >= 1e6 else f"{size / 1e3:.1f} kB"

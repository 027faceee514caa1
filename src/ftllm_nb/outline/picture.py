"""What is drawn of a graph: for each section its boxes, with the data that comes in and goes out, and its edges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ftllm_nb.graph.ir import Value
from ftllm_nb.outline.folding import Section
from ftllm_nb.outline.steps import Step, Weight

PRODUCT, STATE, WEIGHT, PLAIN, FLOW = "product", "state", "weight", "plain", "flow"
KINDS = {
    PRODUCT: "a product with a matrix",
    STATE: "reads or keeps a sequence's state",
    WEIGHT: "reads another weight",
    PLAIN: "has no weight",
}
"""What the colour of an operator says."""
_MOST_WEIGHTS = 4
"""Named in a box; a fused operator has more."""


@dataclass(frozen=True)
class Box:
    """An operator, or data at the border of a section: its title, and the lines below it."""

    title: str
    lines: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Drawing:
    """A section as boxes and edges between their numbers; `late` are those of data that comes in."""

    title: str
    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]
    late: tuple[int, ...]


def drawing_of(section: Section) -> Drawing:
    """What to draw of a section."""
    boxes: list[Box] = []
    edges: list[tuple[int, int]] = []
    maker: dict[Value, int] = {}
    written = {value for step in section.steps for value in step.writes_values}
    for value in dict.fromkeys(each for step in section.steps for each in step.reads_values if each not in written):
        maker[value] = len(boxes)
        boxes.append(Box(value.name, (), FLOW))
    late = tuple(range(len(boxes)))
    read: set[Value] = set()
    for step in section.steps:
        for value in step.reads_values:
            edges.append((maker[value], len(boxes)))
            read.add(value)
        maker.update(dict.fromkeys(step.writes_values, len(boxes)))
        boxes.append(_box(step, section))
    for value in dict.fromkeys(value for step in section.steps for value in step.writes_values if value not in read):
        edges.append((maker[value], len(boxes)))
        boxes.append(Box(value.name, (), FLOW))
    return Drawing(section.title, tuple(boxes), tuple(dict.fromkeys(edges)), late)


def _box(step: Step, section: Section) -> Box:
    kind = STATE if step.state else PRODUCT if step.operations else WEIGHT if step.weights else PLAIN
    weights = [_weight_line(weight, section) for weight in step.weights]
    if len(weights) > _MOST_WEIGHTS:
        weights[_MOST_WEIGHTS - 1 :] = [f"and {len(weights) - _MOST_WEIGHTS + 1} more weights"]
    return Box(step.operator, (*weights, *_state_lines(step), *(str(tensor) for tensor in step.outputs)), kind)


def _weight_line(weight: Weight, section: Section) -> str:
    many = f" × {weight.count}" if weight.count > 1 else ""
    tensor = weight.values[0].tensor
    made = f"made of {section.short_name(tensor)}" if weight.name != tensor else section.short_name(tensor)
    return f"{made}  {weight.shape}{many}"


def _state_lines(step: Step) -> Iterator[str]:
    if step.state:
        kept = ", ".join(re.sub(r"\.\d+", "", str(tensor)) for tensor in step.state)
        yield f"{kept}{f': {step.reach}' if step.reach else ''}"

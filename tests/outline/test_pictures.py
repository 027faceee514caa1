"""Pictures of graphs: boxes that do not overlap, edges from top to bottom, text that is well formed."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from ftllm_nb.outline.dot import dot_text
from ftllm_nb.outline.folding import sections_of
from ftllm_nb.outline.layout import Spot, lay_out
from ftllm_nb.outline.picture import FLOW, drawing_of
from ftllm_nb.outline.steps import steps_of
from ftllm_nb.outline.svg import svg_text
from tests.graph.small_graphs import CONFIG
from tests.models.small_configs import MORE, checked


@pytest.mark.parametrize("seed", range(5))
def test_boxes_do_not_overlap_and_edges_fall(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [(chance.uniform(30, 200), chance.uniform(20, 70)) for _ in range(30)]
    edges = [(chance.randrange(end), end) for end in range(1, 30) for _ in range(chance.randrange(1, 4))]
    layout = lay_out(sizes, edges)
    assert [(spot.width, spot.height) for spot in layout.spots] == sizes
    for number, one in enumerate(layout.spots):
        assert one.x - one.width / 2 >= -1e-6 and one.x + one.width / 2 <= layout.width + 1e-6
        for other in layout.spots[:number]:
            apart = abs(one.x - other.x) >= (one.width + other.width) / 2
            assert apart or abs(one.y - other.y) >= (one.height + other.height) / 2
    for (start, end), path in zip(edges, layout.paths, strict=True):
        assert [y for _, y in path] == sorted(y for _, y in path) and max(x for x, _ in path) <= layout.width + 0.01
        others = [spot for number, spot in enumerate(layout.spots) if number not in (start, end)]
        for one, other in pairwise(path):
            assert not any(_is_behind(one, other, spot) for spot in others)


def _is_behind(one: tuple[float, float], other: tuple[float, float], box: Spot) -> bool:
    """Whether a piece of an edge passes behind a box, or may: one that turns stays between its ends."""
    left, right = sorted((one[0], other[0]))
    is_beside = right <= box.x - box.width / 2 or left >= box.x + box.width / 2
    is_above_or_below = other[1] <= box.y - box.height / 2 + 0.01 or one[1] >= box.y + box.height / 2 - 0.01
    return not (is_beside or is_above_or_below)


@pytest.mark.parametrize("model_type", ["llama", "gemma2", "qwen3_moe", "gemma3n_text"])
def test_pictures_show_every_operator_once(model_type: str) -> None:
    graph = checked(CONFIG | {"model_type": model_type} | MORE.get(model_type, {}))
    sections = sections_of(steps_of(graph, {}))
    svg = svg_text("a <model>", sections, ["operators  3"])
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:2] == ["a <model>", "operators 3"]
    operators = [step.operator for section in sections for step in section.steps]
    for name in set(operators):
        assert texts.count(name) == operators.count(name)
    dot = dot_text('a "model"', sections, [])
    labels = [json.loads(found) for found in re.findall(r'n\d+_\d+ \[label=("(?:[^"\\]|\\.)*")', dot)]
    boxes = [box for section in sections for box in drawing_of(section).boxes]
    assert [label.split("\n")[0] for label in labels] == [box.title for box in boxes]


def test_a_layer_begins_and_ends_with_what_flows() -> None:
    _, layer, _ = sections_of(steps_of(checked(CONFIG | {"model_type": "llama"}), {}))
    drawing = drawing_of(layer)
    flows = [box.title for box in drawing.boxes if box.kind == FLOW]
    assert flows == ["hidden", "hidden"] and drawing.late == (0,)
    # The residual goes past attention to its sum, and attention itself is given nothing but q, k and v.
    titles = [box.title for box in drawing.boxes]
    readers = {titles[end] for start, end in drawing.edges if start == 0}
    assert readers == {"RMSNorm", "AddTo"}


def test_boxes_are_as_wide_as_their_text_in_a_wide_font() -> None:
    """DejaVu Sans, which browsers take where they have none of those that the picture names, is the widest of them."""
    sections = sections_of(steps_of(checked(CONFIG | {"model_type": "llama"}), {}))
    root = ElementTree.fromstring(svg_text("a model", sections, []))
    boxes: list[tuple[float, float, float]] = []
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag == "rect" and element.get("rx") is not None and element.get("class") is None:
            boxes.append((float(element.attrib["x"]), float(element.attrib["width"]), float(element.attrib["y"])))
        elif tag == "text" and element.get("text-anchor") == "middle" and boxes:
            text, width = element.text or "", boxes[-1][1]
            assert width >= len(text) * (8.3 if element.get("class") == "t" else 6.6) + 8, text

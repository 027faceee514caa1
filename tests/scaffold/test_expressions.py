"""Weights, and what differs from layer to layer, as a person would write them."""

from __future__ import annotations

import pytest

from ftllm_nb.graph.references import WeightReference
from ftllm_nb.scaffold.expressions import ByLayer, counted, weight_text
from ftllm_nb.scaffold.merging import Gap, merged

CONFIG = {
    "head_dim": 64, "rms_norm_eps": 1e-6, "hidden_size": 512, "logits_scaling": 8.0, "sliding_window": 128,
    "num_experts": 4, "layer_types": ["a", "b", "a", "b"], "sizes": [3, 1, 4, 1],
}  # fmt: skip


@pytest.mark.parametrize(
    "numbers, condition",
    [
        ([0, 2], 'config["layer_types"][i] == "a"'),
        ([1], "i == 1"),
        ([0], 'config["sizes"][i] == 3'),
        ([2, 3], "i >= 2"),
        ([0, 1, 2], "i < 3"),
    ],
)
def test_conditions(numbers: list[int], condition: str) -> None:
    assert ByLayer(CONFIG, 4).condition(numbers, range(4)) == condition


def test_choices() -> None:
    by_layer = ByLayer(CONFIG, 4)

    def choice(*values: int) -> str:
        return by_layer.choice({i: str(each) for i, each in enumerate(values)}, dict(enumerate(values)))

    assert choice(5, 5, 5, 5) == "5"
    assert choice(3, 1, 4, 1) == 'config["sizes"][i]'
    assert choice(0, 8, 16, 24) == "8 * i" and choice(1, 2, 3, 4) == "i + 1"
    assert choice(7, 9, 7, 9) == '7 if config["layer_types"][i] == "a" else 9'
    assert ByLayer({}, 4).choice({0: "7", 1: "7", 2: "9", 3: "7"}, {}) == "9 if i == 2 else 7"
    data = {i: f'data["{name}"]' for i, name in enumerate("qpqp")}  # of no entry, though one has two values in turns
    assert by_layer.choice(data, {}) == 'data["q"] if config["layer_types"][i] == "a" else data["p"]'
    assert choice(7, 9, 2, 8) == "{0: 7, 1: 9, 2: 2, 3: 8}[i]"


def test_lists() -> None:
    assert counted(['layer[".e.0.w"]', 'layer[".e.1.w"]'], "n") == '[layer[".e."][e][".w"] for e in range(n)]'
    assert counted(["w.rows(0, 1)", "w.rows(1, 2)"], "2") == "[w.rows(e, e + 1) for e in range(2)]"
    assert counted(['layer[".e.5.w"]', 'layer[".e.7.w"]'], "2") == '[layer[".e.5.w"], layer[".e.7.w"]]'


def test_weights() -> None:
    reference = (1 + WeightReference("m.layers.3.up.weight")).rows(0, 8).transposed()

    def number(place: int, field: str) -> str:
        return str(getattr(reference.steps[place], field))

    assert weight_text(reference, ("m.layers.", 3), number) == '(1 + layer[".up.weight"]).rows(0, 8).transposed()'
    assert weight_text(WeightReference("m.layers.31.up"), ("m.layers.", 3), number) == 'weight["m.layers.31.up"]'


def test_kinds_are_laid_side_by_side() -> None:
    pieces = list(merged(["abxcd", "abycd", "abcd"]))
    shared = [piece for piece in pieces if not isinstance(piece, Gap)]
    assert shared == [(0, 0, 0), (1, 1, 1), (3, 3, 2), (4, 4, 3)]
    (gap,) = (piece for piece in pieces if isinstance(piece, Gap))
    assert gap.places == (range(2, 3), range(2, 3), range(2, 2)) and gap.kinds == ((0,), (1,), (2,))

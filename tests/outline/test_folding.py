"""Layers are folded by their kinds, in every architecture; nothing is lost and nothing is there twice."""

from __future__ import annotations

import pytest

from ftllm_nb.graph.types import Symbol
from ftllm_nb.outline.folding import number_ranges, sections_of
from ftllm_nb.outline.steps import steps_of
from tests.graph.small_graphs import CONFIG
from tests.models.small_configs import DECODERS, EXPERTS, MORE, checked

LAYERS = 4
SHORT = {"layer_types": ["full_attention"] * 2, "rms_norm_eps": None, "norm_eps": 1e-5}
RECURRENT = {"lfm2": SHORT, "lfm2_moe": SHORT | EXPERTS, "qwen3_next": EXPERTS, "qwen3_5_moe_text": EXPERTS}
"""What those with recurrent layers ask for."""
KINDS = {"zamba2": ["linear_attention"] * 2}
"""Of those whose layers that attend are all different, which cannot be folded."""
FOUR = {"num_hidden_layers": LAYERS, "tie_word_embeddings": True}


@pytest.mark.parametrize("model_type", DECODERS)
def test_each_architecture_is_folded(model_type: str) -> None:
    entries = CONFIG | {"model_type": model_type} | RECURRENT.get(model_type, {}) | MORE.get(model_type, {}) | FOUR
    if "layer_types" in entries:
        entries["layer_types"] = KINDS.get(model_type, entries["layer_types"]) * 2
    steps = steps_of(checked(entries), {})
    before, *layers, after = sections_of(steps)
    assert before.first == 0 and not before.layers and not after.layers
    assert sorted(number for section in layers for number in section.layers) == list(range(LAYERS))
    assert len(layers) < LAYERS
    counted = sum(len(section.steps) * max(1, len(section.layers)) for section in (before, *layers, after))
    assert counted == len(steps)
    for section in layers:
        assert steps[section.first : section.first + len(section.steps)] == list(section.steps)
        assert any(step.state for step in section.steps)
        assert not any(Symbol.ROWS in value.type.shape for step in section.steps for value in step.writes_values)
    assert after.steps[-1].writes_values[0].type.shape[:2] == (1, Symbol.ROWS)


def test_layers_that_see_differently_are_of_two_kinds() -> None:
    entries = {"model_type": "gemma2", "query_pre_attn_scalar": 4, "sliding_window": 20}
    _, sliding, full, _ = sections_of(steps_of(checked(CONFIG | FOUR | entries), {}))
    assert (sliding.layers, full.layers) == ((0, 2), (1, 3))
    assert sliding.title == "layers 0, 2 (× 2), weights model.layers.N"
    assert sliding.short_name("model.layers.0.mlp.up_proj.weight") == ".mlp.up_proj.weight"
    assert {step.reach for step in (*sliding.steps, *full.steps)} == {"", "a window of 20", "all positions"}


def test_ranges() -> None:
    assert number_ranges([5, 0, 1, 2, 7, 8]) == "0–2, 5, 7–8"

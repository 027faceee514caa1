"""Folders of models that see or hear: what of them is read, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.errors import CheckpointError, FtllmError, GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.models import graph_class
from tests.graph.small_graphs import CONFIG, Header
from tests.models.small_configs import MORE, TEXT_PARTS

NEW, OLD = ("model.language_model.", "lm_head"), ("language_model.model.", "language_model.lm_head")
SEEN = {"model.vision_tower.patch.weight": Header((2, 3)), "multi_modal_projector.weight": Header((5,))}


def folder(model_type: str, **entries: Any) -> dict[str, Any]:
    """A config with the text part's entries where they belong."""
    text_type = next(iter(TEXT_PARTS[model_type].text_models))
    return {
        "model_type": model_type,
        "text_config": CONFIG | {"model_type": text_type} | MORE.get(text_type, {}) | entries,
    }


def tensors(config: dict[str, Any], place: tuple[str, str] = NEW) -> dict[str, Header]:
    """Exactly the text part's, under a place's names."""
    built = build_graph(graph_class(config), config)
    (prefix, head), shapes = place, built.weight_shapes()
    return {
        name.replace(NEW[0], prefix) if name.startswith(NEW[0]) else name.replace(NEW[1], head): Header(shape)
        for name, shape in shapes.items()
    }


def checked(config: dict[str, Any], found: dict[str, Header]) -> CheckedGraph:
    return check_graph(build_graph(graph_class(config), config, checkpoint_names=found), found)


@pytest.mark.parametrize("place", [NEW, OLD])
@pytest.mark.parametrize("model_type", TEXT_PARTS)
def test_the_text_part_is_read_and_the_rest_passed_over(model_type: str, place: tuple[str, str]) -> None:
    config = folder(model_type)
    found = tensors(config, place)
    graph = checked(config, found | SEEN)
    assert set(graph.weights) == set(found) and graph.unread_tensors == []
    assert graph.notes == ["only text is computed: 2 tensors of multi_modal_projector, vision_tower are passed over."]
    assert checked(config, found).notes == []
    assert graph.config["hidden_size"] == CONFIG["hidden_size"]


def test_a_tensor_of_the_text_part_that_nobody_reads_is_named() -> None:
    config = folder("gemma3")
    more = {f"{NEW[0]}layers.0.odd.weight": Header((3,))}
    assert checked(config, tensors(config) | more).unread_tensors == list(more)


def test_another_part_alone() -> None:
    with pytest.raises(CheckpointError) as raised:
        checked(folder("gemma3"), SEEN)
    said = str(raised.value)
    assert '"model.language_model." and "language_model.model."' in said and "another part of the model alone" in said


def test_two_text_parts() -> None:
    config = folder("gemma3")
    with pytest.raises(CheckpointError, match=r"text parts under .* and one was expected"):
        checked(config, tensors(config, OLD) | tensors(config, NEW))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"text_config": None}, "text_config must be an object, the description of the text part, not null"),
        ({"text_config": [1]}, "text_config must be an object"),
        ({"text_config": {"model_type": "llama"}}, "text_config has the model_type 'llama', but .* is \"gemma3_text\""),
        ({"text_config": {"model_type": ["x"]}}, "text_config has the model_type"),
        ({"text_config": {"hidden_size": -8}}, "hidden_size must be a positive whole number"),
        ({"text_config": {}}, 'config.json has no entry "num_hidden_layers"'),
    ],
)
def test_configs_that_are_wrong(entries: dict[str, Any], sentence: str) -> None:
    config = {"model_type": "gemma3"} | entries
    with pytest.raises(FtllmError, match=sentence):
        checked(config, {})


def test_entries_beside_the_text_part_go_before_its_own() -> None:
    config = folder("gemma3", eos_token_id=1, tie_word_embeddings=True) | {"eos_token_id": [1, 106]}
    assert checked(config, tensors(config)).config["eos_token_id"] == [1, 106]
    untied = config | {"tie_word_embeddings": False}
    with pytest.raises((CheckpointError, GraphError), match=r"lm_head\.weight"):
        checked(untied, tensors(config))


def test_what_gemma3_leaves_out() -> None:
    """The published 4B config.json says no more of its text part."""
    given = {"hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 6, "sliding_window": 1024}
    config = {"model_type": "gemma3", "text_config": given | {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}}}
    graph = checked(config, tensors(config))
    assert {layer.heads for layer in graph.caches.values()} == {4}
    full, sliding = graph.rope["full_attention"], graph.rope["sliding_attention"]
    assert (full.base, sliding.base, full.dim, graph.vocab_size) == (1e6, 1e4, 256, 262208)
    assert type(full.type) is not type(sliding.type)

"""What configs and checkpoints of mixtures of experts may have wrong, and the two forms in which experts are stored."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ftllm_nb.errors import FtllmError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.models import graph_class
from tests.graph.small_graphs import CONFIG, Header
from tests.models.small_configs import MORE, checked


def config_of(model_type: str, **entries: Any) -> dict[str, Any]:
    """A small config."""
    return CONFIG | MORE.get(model_type, {}) | {"model_type": model_type} | entries


def shapes_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """What a checkpoint of it holds."""
    return build_graph(graph_class(config), dict(config)).weight_shapes()


def checked_with(config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> CheckedGraph:
    """The graph on a checkpoint that holds these tensors."""
    tensors = {name: Header(shape) for name, shape in shapes.items()}
    return check_graph(build_graph(graph_class(config), dict(config), checkpoint_names=tensors), tensors)


@pytest.mark.parametrize(
    ("model_type", "entries", "sentence"),
    [
        ("qwen2_moe", {"num_experts_per_tok": 4}, "sends each token to 4 experts, but layer 0 has 3."),
        ("deepseek_v3", {"num_experts_per_tok": 9}, "sends each token to 9 experts, but layer 1 has 3."),
        ("hunyuan_v1_moe", {"moe_topk": [1, 4]}, "sends each token to 4 experts, but layer 1 has 3."),
        ("hunyuan_v1_moe", {"moe_topk": [1]}, "moe_topk must have a number for each of 2 layers, but it is [1]."),
        ("hunyuan_v1_moe", {"norm_topk_prob": False}, "norm_topk_prob is false"),
        ("deepseek_v2", {"norm_topk_prob": True}, "norm_topk_prob is true"),
        ("deepseek_v2", {"topk_method": "noaux_tc"}, "topk_method is 'noaux_tc'; this architecture has \"greedy\""),
        ("deepseek_v3", {"scoring_func": "softmax"}, "scoring_func is 'softmax', but this architecture's is sigmoid."),
        ("glm4_moe", {"n_group": 2}, "groups must divide 3 experts, but it is 2"),
        ("glm4_moe_lite", {"mlp_layer_types": ["dense"]}, 'mlp_layer_types must have "sparse" or "dense" for each'),
        ("qwen3_moe", {"num_experts": None}, "has none of num_experts, num_local_experts, "),
        ("qwen3_moe", {"num_experts": 10**9}, "but layer 0 has 1000000000; there may be 10000."),
        ("granitemoe", {"hidden_act": "relu"}, "activation is 'relu', which experts here do not have."),
        ("laguna", {"gating": False}, 'gating must be true, "per-head" or "per-element", not false.'),
        ("gemma4_text", {"enable_moe_block": True, "num_experts": 3, "top_k_experts": 4, "num_kv_shared_layers": 0},
         "sends each token to 4 experts, but layer 0 has 3."),
        ("llama4_text", {"moe_layers": [0], "num_local_experts": 3, "num_experts_per_tok": 2},
         "num_experts_per_tok is 2, but a token of this architecture has one expert."),
        ("llama4_text", {"moe_layers": "x"}, "moe_layers must be a list of layers, but it is 'x'."),
        ("gemma4_text", {"enable_moe_block": True, "top_k_experts": 1}, "has none of num_experts, "),
        ("qwen3", {"routed_scaling_factor": 2.5}, "by which weights of experts are multiplied"),
        ("qwen3_moe", {"scoring_func": "sigmoid"}, "by which experts are scored otherwise"),
        ("qwen3_moe", {"n_group": 8}, "by which experts are chosen from groups"),
    ],
)  # fmt: skip
def test_configs_that_are_wrong(model_type: str, entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FtllmError, match=re.escape(sentence)):
        checked(config_of(model_type, **entries))


@pytest.mark.parametrize(
    ("model_type", "lacking", "sentence"),
    [
        ("qwen2_moe", "model.layers.1.mlp.experts.2.up_proj.weight", "(in layers 0 to 1 only|lacks)"),
        ("gpt_oss", "model.layers.0.mlp.experts.gate_up_proj_bias", "lacks"),
        ("gpt_oss", "model.layers.0.self_attn.sinks", "lacks"),
        ("deepseek_v3", "model.layers.1.mlp.gate.e_score_correction_bias", "lacks"),
    ],
)
def test_a_tensor_that_is_missing_is_named(model_type: str, lacking: str, sentence: str) -> None:
    config = config_of(model_type)
    shapes = shapes_of(config)
    del shapes[lacking]
    with pytest.raises(FtllmError, match=f"{re.escape(lacking)}.*{sentence}|{sentence}.*{re.escape(lacking)}"):
        checked_with(config, shapes)


def test_a_router_without_its_bias_is_said_to_be() -> None:
    config = config_of("gpt_oss")
    shapes = shapes_of(config)
    del shapes["model.layers.0.mlp.router.bias"]
    notes = checked_with(config, shapes).notes
    assert any('lacks the bias "model.layers.0.mlp.router.bias"' in note for note in notes)


@pytest.mark.parametrize("model_type", ["qwen2_moe", "mixtral", "glm4_moe"])
def test_experts_may_be_stored_as_stacks(model_type: str) -> None:
    config = config_of(model_type)
    listed = shapes_of(config)
    stacked = {name: shape for name, shape in listed.items() if ".experts." not in name}
    for name, (rows, columns) in ((name, shape) for name, shape in listed.items() if ".experts.0." in name):
        layer, _, part = name.partition(".experts.0.")
        if part in ("gate_proj.weight", "w1.weight"):
            stacked[f"{layer}.experts.gate_up_proj"] = (3, 2 * rows, columns)
        elif part in ("down_proj.weight", "w2.weight"):
            stacked[f"{layer}.experts.down_proj"] = (3, rows, columns)
    assert len(checked_with(config, stacked).nodes) == len(checked_with(config, listed).nodes)


@pytest.mark.parametrize("model_type", ["gpt_oss", "granitemoe"])
def test_stacks_of_another_size_are_refused(model_type: str) -> None:
    config = config_of(model_type)
    shapes = shapes_of(config)
    name = next(name for name, shape in shapes.items() if len(shape) == 3)
    shapes[name] = (shapes[name][0] - 1, *shapes[name][1:])
    with pytest.raises(FtllmError, match=rf'tensor "{re.escape(name)}" has shape'):
        checked_with(config, shapes)


@pytest.mark.parametrize(
    ("model_type", "name", "shape", "sentence"),
    [
        ("qwen3_moe", "model.layers.1.mlp.gate.weight", (4, 32), "model.layers.1.mlp.gate.weight"),
        ("qwen3_moe", "model.layers.0.mlp.experts.1.up_proj.weight", (19, 32), "experts.1.up_proj.weight"),
        ("minimax_m2", "model.layers.0.block_sparse_moe.e_score_correction_bias", (4,), "e_score_correction_bias"),
    ],
)
def test_routers_and_experts_of_another_size_are_refused(
    model_type: str, name: str, shape: tuple[int, ...], sentence: str
) -> None:
    config = config_of(model_type)
    shapes = shapes_of(config)
    assert len(shapes[name]) == len(shape)
    shapes[name] = (shape[0], *shapes[name][1:])
    with pytest.raises(FtllmError, match=rf'"{re.escape(name)}".* has shape|{re.escape(sentence)}') as caught:
        checked_with(config, shapes)
    assert str(shape[0]) in str(caught.value)


def test_an_expert_of_what_was_weighed() -> None:
    """Llama 4: what its experts read is no norm's output."""
    config = config_of("llama4_text", moe_layers=[0], num_local_experts=3, num_experts_per_tok=1, intermediate_size=16)
    (merged,) = [each for each in checked(config).nodes if each.operator.name == "MergeMOE"]
    assert merged.inputs["input"].name == "weighted"

"""Which tensor becomes what, and how the layout's config says so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.compressed_tensors import INT_QUANTIZED, WeightScheme, read_config
from ftllm_nb.engine.weight_types import Rule
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.models import graph_class
from ftllm_nb.quantization.formats import output_format
from ftllm_nb.quantization.job import QuantizeJob
from ftllm_nb.quantization.options import QuantizeOptions
from ftllm_nb.quantization.plan import plan_tensors
from ftllm_nb.quantization.table import plan_table
from ftllm_nb.quantization.tensors import PlannedTensor
from tests.engine.two_engines import checked_graph
from tests.golden.small_models import SMALL_MODELS, write_checkpoint
from tests.graph.small_graphs import CONFIG
from tests.memory_checkpoint import MemoryCheckpoint, normal
from tests.models.small_configs import EXPERTS
from tests.quantization.test_command import quantize

INT8 = WeightScheme(8, 0, True, INT_QUANTIZED, int8_activations=True)


def job_of(folder: Path, model: str, dtype: str, rules: Any = (), **given: Any) -> QuantizeJob:
    """The job for a small model; `rules` as a --dtype_config file has them."""
    from ftllm_nb.engine.weight_types import read_rules

    file = folder / "rules.json"
    file.write_text(json.dumps([{"key": key, "dtype": dtype} for key, dtype in rules]))
    write_checkpoint(folder / "model", model, SMALL_MODELS[model], "bfloat16")
    with open_checkpoint(folder / "model") as checkpoint:
        options = QuantizeOptions(dtype, "rtn", rules=read_rules(file), **given)
        return output_format(options.format).job(checkpoint, options)


def by_name(job: QuantizeJob) -> dict[str, PlannedTensor]:
    return {tensor.name: tensor for tensor in job.tensors}


def test_matrices_of_linears_are_quantized_and_nothing_else(tmp_path: Path) -> None:
    tensors = by_name(job_of(tmp_path, "llama_biases", "int4g32"))
    quantized = {name for name, tensor in tensors.items() if tensor.scheme is not None}
    assert quantized == {name for name in tensors if name.endswith("_proj.weight")}
    assert {tensors[name].scheme for name in quantized} == {WeightScheme(4, 32)}


@pytest.mark.parametrize(
    "dtype, scheme, layout",
    [
        ("int8", INT8, "int-quantized"),
        ("int8g32", WeightScheme(8, 32), "pack-quantized"),
        ("int4", WeightScheme(4, 0), "pack-quantized"),
        ("int4g32", WeightScheme(4, 32), "pack-quantized"),
    ],
)
def test_config_of_one_type(tmp_path: Path, dtype: str, scheme: WeightScheme, layout: str) -> None:
    job = job_of(tmp_path, "llama_mha", dtype)
    config = json.loads(job.texts({})["config.json"])
    assert config["quantization_config"]["format"] == layout
    assert config["quantization_config"]["ignore"] == ["lm_head"]
    (group,) = config["quantization_config"]["config_groups"].values()
    assert group["targets"] == ["Linear"]
    read = read_config(config, "config.json")
    assert read is not None and read.scheme_of("model.layers.1.mlp.down_proj") == scheme


def test_rules_rule_a_tensor_at_a_time(tmp_path: Path) -> None:
    rules = [("mlp", "int8"), (r"layers\.1.*down_proj", "auto"), ("lm_head", "int8g32"), ("embed", "int4"),
             ("q_proj", "bfloat16")]  # fmt: skip
    job = job_of(tmp_path, "llama_mha", "int4g32", rules)
    tensors = by_name(job)
    layer = "model.layers.{}.{}.weight"
    assert tensors[layer.format(0, "mlp.down_proj")].scheme == INT8
    assert tensors[layer.format(1, "mlp.down_proj")].scheme is None
    assert tensors[layer.format(1, "self_attn.k_proj")].scheme == WeightScheme(4, 32)
    assert tensors[layer.format(1, "self_attn.q_proj")].scheme is None
    assert tensors["lm_head.weight"].scheme == WeightScheme(8, 32)
    assert tensors["model.embed_tokens.weight"].scheme is None  # a table of tokens is no Linear
    read = read_config(json.loads(job.texts({})["config.json"]), "config.json")
    assert read is not None
    for name, tensor in tensors.items():
        if tensor.is_linear:
            assert read.scheme_of(name.removesuffix(".weight")) == tensor.scheme, name


def test_groups_that_do_not_divide_the_columns_become_smaller_ones(tmp_path: Path) -> None:
    tensors = by_name(job_of(tmp_path, "llama_mha", "int4g128"))  # 64 and 96 columns
    up, down = (tensors[f"model.layers.0.mlp.{name}_proj.weight"] for name in ("up", "down"))
    assert (up.scheme, up.note) == (WeightScheme(4, 64), "64 columns are no multiple of 128")
    assert (down.scheme, down.note) == (WeightScheme(4, 32), "96 columns are no multiple of 128")
    odd = by_name(job_of(tmp_path, "qwen2_odd_sizes", "int8g64"))
    assert odd["model.layers.0.mlp.up_proj.weight"].scheme == INT8


def test_tied_embeddings_stay(tmp_path: Path) -> None:
    job = job_of(tmp_path, "qwen2_tied", "int4g32", [("embed", "int8")])
    assert by_name(job)["model.embed_tokens.weight"].scheme is None
    assert json.loads(job.texts({})["config.json"])["quantization_config"]["ignore"] == ["lm_head"]


def test_asymmetric_numbers_of_8_bits_are_packed(tmp_path: Path) -> None:
    job = job_of(tmp_path, "llama_mha", "int8", symmetric=False)
    assert by_name(job)["model.layers.0.mlp.up_proj.weight"].scheme == WeightScheme(8, 0, symmetric=False)
    assert "int8 asymmetric" in plan_table(job.tensors, job.format)


def test_the_table_adds_up_and_says_why(tmp_path: Path) -> None:
    job = job_of(tmp_path, "llama_mha", "int4g128")
    header, _, *rows, total = plan_table(job.tensors, job.format).splitlines()
    assert [cell.strip() for cell in header.split("|")[1:7]] == ["tensor", "shape", "from", "to", "MB", "bits a weight"]
    assert len(rows) == len(job.tensors) and len({len(row) for row in (header, *rows, total)}) == 1
    sizes = [float(row.split("|")[5]) for row in (*rows, total)]
    assert sum(sizes[:-1]) == pytest.approx(sizes[-1], abs=0.001 * len(rows))
    assert any("96 columns are no multiple of 128" in row for row in rows)


def test_what_cannot_be_planned(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is left to quantize"):
        job_of(tmp_path, "llama_mha", "int8", [("proj", "auto")])
    with pytest.raises(UsageError, match="floats stay bfloat16"):
        job_of(tmp_path, "llama_mha", "int8", [("up_proj", "float32")])


def test_rules_that_match_nothing_are_told(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", "llama_mha", SMALL_MODELS["llama_mha"])
    (tmp_path / "rules.json").write_text('[{"key": "mpl", "dtype": "int8"}]')
    done = quantize(tmp_path / "model", "--dry-run", "--dtype-config", tmp_path / "rules.json")
    assert done.returncode == 0 and '{"key": "mpl", "dtype": "int8"} is found' in done.stderr


def test_rules_that_change_nothing_are_said(tmp_path: Path) -> None:
    rules = [("nowhere", "int8"), ("norm", "int8"), ("embed", "int8"), ("down_proj", "int8"), ("up_proj", "auto")]
    job = job_of(tmp_path, "llama_mha", "int4g32", rules)
    assert job.notes() == [
        'no weight has a name in which the rule {"key": "nowhere", "dtype": "int8"} is found.',
        'the rule {"key": "norm", "dtype": "int8"} changes nothing: what it names is not quantized.',
        'the rule {"key": "embed", "dtype": "int8"} changes nothing: what it names is not quantized.',
        "vLLM joins q, k and v, or gate and up, and loads them only where they have one type: ftllm-nb and "
        "transformers load this folder.",
    ]


def test_a_rule_for_another_type_of_floats_is_refused(tmp_path: Path) -> None:
    sentence = r'makes "model.layers.0.mlp.up_proj.weight" float16, but floats stay bfloat16, .* ask for auto'
    with pytest.raises(UsageError, match=sentence):
        job_of(tmp_path, "llama_mha", "int4g32", [("up_proj", "float16")])


def test_nothing_is_left_of_a_model_whose_matrices_lie_the_other_way() -> None:
    held = MemoryCheckpoint({"max_positions": 8}, {name: normal(1, 64, 64) for name in ("embed.weight", "up.weight")})

    def build(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed.weight"], self.data["x"])
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["x"])
        self.Linear(self.data["x"], self.weight["up.weight"].transposed(), None, self.data["logits"])

    with pytest.raises(UsageError, match="the model's graph computes weights from its matrices, which needs floats"):
        plan_tensors(held, checked_graph(build, held), "int4g32", (), output_format("compressed_tensors"))


COMPUTED = "the graph computes weights from it"


def test_what_a_graph_computes_with_stays_as_it_is() -> None:
    """The copy is read by the same graph, which can compute with floats only."""
    held = MemoryCheckpoint(
        {"max_positions": 8}, {f"{name}.weight": normal(1, 64, 64) for name in ("embed", "up", "down")}
    )

    def build(self: ComputeGraph) -> None:
        self.Embedding(self.data["inputIds"], self.weight["embed.weight"], self.data["x"])
        self.Linear(self.data["x"], self.weight["up.weight"], None, self.data["x"])
        self.Linear(self.data["x"], self.weight["down.weight"], None, self.data["x"])
        self.Linear(self.data["x"], self.weight["down.weight"].transposed(), None, self.data["x"])
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["x"])
        self.Linear(self.data["x"], 0.5 * self.weight["embed.weight"], None, self.data["logits"])

    for format in (output_format("packed"), output_format("compressed_tensors")):
        planned = plan_tensors(held, checked_graph(build, held), "int4g32", (), format)
        assert {tensor.name for tensor in planned if tensor.scheme is not None} == {"up.weight"}
        notes = {tensor.name: tensor.note for tensor in planned}
        assert notes == {"embed.weight": COMPUTED, "up.weight": "", "down.weight": COMPUTED}


def test_what_steers_a_state_is_not_said_to_choose_experts() -> None:
    config = CONFIG | {
        "model_type": "qwen3_5_text", "head_dim": 8, "layer_types": ["linear_attention"] * CONFIG["num_hidden_layers"],
        "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    }  # fmt: skip
    graph = build_graph(graph_class(config), config)
    checkpoint = MemoryCheckpoint(config, {name: normal(1, *shape) for name, shape in graph.weight_shapes().items()})
    checked = check_graph(graph, checkpoint.tensors)
    planned = plan_tensors(checkpoint, checked, "int8", (), output_format("compressed_tensors"))
    notes = {tensor.name.rsplit(".", 2)[1] for tensor in planned if tensor.note == "states change by it"}
    assert notes == {"in_proj_a", "in_proj_b"} and not any("experts" in tensor.note for tensor in planned)


def test_a_router_keeps_its_floats_unless_a_rule_names_it() -> None:
    config = CONFIG | {"model_type": "qwen3_moe", "head_dim": 8} | EXPERTS
    graph = build_graph(graph_class(config), config)
    arrays = {name: normal(1, *shape) for name, shape in graph.weight_shapes().items()}
    checkpoint = MemoryCheckpoint(config, arrays)
    checked = check_graph(graph, checkpoint.tensors)
    router, format = "model.layers.0.mlp.gate.weight", output_format("compressed_tensors")
    planned = {tensor.name: tensor for tensor in plan_tensors(checkpoint, checked, "int8", (), format)}
    assert planned[router].scheme is None and planned[router].note == "experts are chosen by it"
    for part in ("gate", "up", "down"):
        assert planned[f"model.layers.0.mlp.experts.2.{part}_proj.weight"].scheme == INT8
    rule = Rule(re.compile("mlp.gate.weight"), "int8", "")
    planned = {tensor.name: tensor for tensor in plan_tensors(checkpoint, checked, "int8", (rule,), format)}
    assert planned[router].scheme == INT8 and not planned[router].note

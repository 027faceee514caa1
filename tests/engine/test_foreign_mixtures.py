"""Mixtures of experts as other tools quantize them: gpt-oss in MXFP4, experts of 8 bits, MLX's stacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.benchmark.model_facts import model_facts, model_rows
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import CheckpointError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.loading import describe
from ftllm_nb.models import graph_class
from tests.engine.test_foreign_models import GPTQ, as_floats, order_of
from tests.engine.test_quantized_models import divergences
from tests.executors import open_executor
from tests.foreign_folders import Parts, foreign_folder, fp8_parts, gptq_parts
from tests.golden.foreign_matrices import write_typed
from tests.golden.small_models import uniform
from tests.graph.small_graphs import CONFIG as SMALL
from tests.models.small_configs import MORE

CONFIG: dict[str, Any] = {
    "model_type": "gpt_oss", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 64,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "num_local_experts": 4,
    "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "rope_theta": 10000.0,
    "sliding_window": 16, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
VALUES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A gpt-oss with its experts in MXFP4, and the same as floats, laid out as transformers has them."""
    root = tmp_path_factory.mktemp("gpt_oss")
    tensors: Parts = {}
    floats: Parts = {}
    for name, shape in build_graph(graph_class(CONFIG), CONFIG).weight_shapes().items():
        if name.endswith(("gate_up_proj", "down_proj")):
            experts, columns, rows = shape
            made, weight = experts_in_mxfp4(name, experts, rows, columns)
            tensors |= made
            floats[name] = "F32", np.ascontiguousarray(weight.transpose(0, 2, 1))
        else:
            numbers = uniform(name, int(np.prod(shape))).reshape(shape) / np.float32(8)
            tensors[name] = floats[name] = "F32", numbers + np.float32("norm" in name)
    for folder, each, entries in (
        (root / "mxfp4", tensors, {"quantization_config": {"quant_method": "mxfp4"}}),
        (root / "floats", floats, {}),
    ):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({**CONFIG, **entries}))
        write_typed(folder / "model.safetensors", each)
    return root / "mxfp4", root / "floats"


def experts_in_mxfp4(name: str, experts: int, rows: int, columns: int) -> tuple[Parts, NDArray[np.float32]]:
    """Random codes and exponents, and what they stand for by the standard: [experts, rows, columns]."""
    raw = np.random.PCG64(len(name)).random_raw(experts * rows * columns) >> np.uint64(40)
    codes = (raw & np.uint64(15)).astype(np.uint8).reshape(experts, rows, columns)
    exponents = (121 + raw[::32] % 3).astype(np.uint8).reshape(experts, rows, columns // 32)
    signs = np.where(codes & 8, np.float32(-1), np.float32(1))
    weight = signs * VALUES[codes & 7] * np.repeat(np.exp2(exponents.astype(np.float32) - 127), 32, axis=-1)
    packed = (codes[..., ::2] | codes[..., 1::2] << 4).reshape(experts, rows, columns // 32, 16)
    return {f"{name}_blocks": ("U8", packed), f"{name}_scales": ("U8", exponents)}, weight.astype(np.float32)


def logits(executor: Executor) -> NDArray[np.float32]:
    """After 20 tokens at once, then after each of 4."""
    sequence = executor.cache.new_sequence()
    tokens = np.arange(24, dtype=np.int32) * 7 % 64
    pieces = [tokens[:20], *np.split(tokens[20:], 4)]
    return np.stack([executor.run([SequenceStep(sequence, piece)])[0].copy() for piece in pieces])


def test_gpt_oss_in_mxfp4_is_the_model_of_its_floats(folders: tuple[Path, Path]) -> None:
    found = {}
    for name, folder in zip(("mxfp4", "floats"), folders, strict=True):
        with open_executor("reference", folder) as executor:
            found[name] = logits(executor)
    np.testing.assert_allclose(found["mxfp4"], found["floats"], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_compiled_engine_rounds_activations_alone(folders: tuple[Path, Path]) -> None:
    with open_executor("reference", folders[1]) as executor:
        expected = logits(executor)
    with open_executor("compiled", folders[0]) as executor:
        assert divergences(expected, logits(executor)).mean() < 5e-3


def test_experts_keep_their_bits(folders: tuple[Path, Path]) -> None:
    lines = [text for _, text in model_rows(model_facts(folders[0]), None)]
    kind = next(line for line in lines if line.startswith("mlp.experts.up_proj "))
    assert "MXFP4 × 2" in kind and "4.25 bits a weight" in kind and kind.endswith("in memory MXFP4")


def write_separate(folder: Path, inner: int, entries: dict[str, Any] | None = None, stacked: bool = False) -> Path:
    """A qwen3_moe of floats, each expert's matrices apart; or, where `stacked`, these as MLX's numbers of 4 bits."""
    config = {**CONFIG, "model_type": "qwen3_moe", "num_experts": 4, "moe_intermediate_size": inner, **(entries or {})}
    tensors: Parts = {}
    for name, shape in build_graph(graph_class(config), config).weight_shapes().items():
        at, _, own = name.rpartition(".experts.0.")
        if stacked and at:
            stack, (rows, columns) = f"{at}.switch_mlp.{own.removesuffix('.weight')}", shape
            words = np.random.PCG64(len(name)).random_raw(4 * rows * columns // 16).view(np.uint32)
            halves = (uniform(name, rows * columns // 4) / 16).astype(np.float16).reshape(2, 4, rows, columns // 32)
            tensors[f"{stack}.weight"] = "U32", words.reshape(4, rows, columns // 8)
            tensors[f"{stack}.scales"], tensors[f"{stack}.biases"] = (("F16", each) for each in halves)
        elif not stacked or ".experts." not in name:
            numbers = uniform(name, int(np.prod(shape))).reshape(shape) / np.float32(8)
            tensors[name] = "F32", numbers + np.float32("norm" in name)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    write_typed(folder / "model.safetensors", tensors)
    return folder


def test_stacks_of_mlx_are_the_experts_of_the_graph(tmp_path: Path) -> None:
    section = {"quantization": {"group_size": 32, "bits": 4}}
    folder = write_separate(tmp_path / "mlx", 96, section, stacked=True)
    plain = as_floats(folder, tmp_path / "floats")
    config = json.loads((plain / "config.json").read_text())
    del config["quantization"]
    (plain / "config.json").write_text(json.dumps(config))
    with open_executor("reference", folder) as ours, open_executor("reference", plain) as other:
        np.testing.assert_array_equal(logits(ours), logits(other))


@pytest.mark.slow
def test_experts_of_8_bits_are_multiplied_as_float32_is(tmp_path: Path) -> None:
    """Each expert is a matrix of its own here, with scales of blocks that end beyond its rows and columns."""
    source, folder = write_separate(tmp_path / "source", 80), tmp_path / "quantized"
    section = {"quant_method": "fp8", "weight_block_size": [32, 64]}
    foreign_folder(source, folder, section, lambda name, weight: fp8_parts(weight, (32, 64)), only=".experts.")
    plain = as_floats(folder, tmp_path / "floats")
    with open_executor("compiled", folder) as ours, open_executor("compiled", plain) as other:
        np.testing.assert_array_equal(logits(ours), logits(other))


@pytest.mark.slow  # its products of experts are no other test's
@pytest.mark.parametrize(
    ("ordered", "bits"), [("", 4), ("gate_proj up_proj down_proj", 4), ("up_proj", 3)]
)
def test_gptq_s_experts(tmp_path: Path, ordered: str, bits: int) -> None:
    """They keep their numbers, where columns have orders of their own as well."""

    def make(name: str, weight: NDArray[np.float32]) -> Parts:
        own = name.rpartition(".")[2]
        seed = name.replace("up_proj", "gate_proj") if bits == 4 else name  # as packages have it: both read one input
        order = order_of(weight.shape[1], seed[-20:]) if own in ordered.split() else None
        return gptq_parts(weight, bits, 32, symmetric=False, order=order, scales="bfloat16")

    source = write_separate(tmp_path / "source", 96)
    folder = foreign_folder(source, tmp_path / "quantized", {**GPTQ, "bits": bits}, make)
    plain = as_floats(folder, tmp_path / "floats")
    with open_executor("reference", folder) as ours, open_executor("reference", plain) as other:
        expected = logits(other)
        np.testing.assert_array_equal(logits(ours), expected)
    with open_checkpoint(folder) as checkpoint:
        graph = describe(checkpoint)
        format_of = WeightTypes("auto").formats(graph)
        assert {format_of(each).name for name, each in graph.weights.items() if ".experts." in name} == {"int4g32"}
    with open_executor("compiled", folder) as executor:
        found = logits(executor)
    assert divergences(expected, found).mean() < 5e-3
    with open_executor("compiled", folder, threads=1) as executor:
        np.testing.assert_array_equal(logits(executor), found)


def deepseek_in_fp8(root: Path) -> Path:
    """A DeepSeek V3 as its folders are: all matrices of layers in e4m3, those that latent attention computes other
    weights from and the ones of the layer that predicts a second token, which nothing reads, too."""
    config = {**SMALL, **MORE["deepseek_v3"], "model_type": "deepseek_v3", "vocab_size": 64}
    config["num_nextn_predict_layers"] = 1
    shapes = build_graph(graph_class(config), config).weight_shapes()
    last = f"model.layers.{config['num_hidden_layers']}."
    shapes |= {f"{last}eh_proj.weight": (config["hidden_size"], 2 * config["hidden_size"])}
    shapes |= {f"{last}mlp.down_proj.weight": (config["hidden_size"], config["intermediate_size"])}
    tensors: Parts = {}
    for name, shape in shapes.items():
        numbers = uniform(name, int(np.prod(shape))).reshape(shape) / np.float32(4)
        tensors[name] = "F32", numbers + np.float32("norm" in name)
    (root / "floats").mkdir()
    (root / "floats" / "config.json").write_text(json.dumps(config))
    write_typed(root / "floats" / "model.safetensors", tensors)
    section = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [16, 32]}
    return foreign_folder(
        root / "floats", root / "fp8", section, lambda name, weight: fp8_parts(weight, (16, 32)), only="_proj"
    )


@pytest.mark.parametrize("engine", ["reference", pytest.param("compiled", marks=pytest.mark.slow)])
def test_deepseek_v3_in_fp8_is_the_model_of_its_floats(tmp_path: Path, engine: str) -> None:
    folder = deepseek_in_fp8(tmp_path)
    plain = as_floats(folder, tmp_path / "plain")
    with open_executor(engine, folder) as ours, open_executor(engine, plain) as other:
        found = logits(ours)
        np.testing.assert_array_equal(found, logits(other))
    assert np.isfinite(found).all() and np.ptp(found) > 0.1
    lines = [text for _, text in model_rows(model_facts(folder), None)]
    assert any("e4m3" in line for line in lines)


def test_a_scale_that_is_no_number(folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders[0], folder)
    content = (folder / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    offset = header["model.layers.1.mlp.experts.down_proj_scales"]["data_offsets"][0]
    begin = 8 + int.from_bytes(content[:8], "little") + offset
    (folder / "model.safetensors").write_bytes(content[:begin] + b"\xff" + content[begin + 1 :])
    with pytest.raises(CheckpointError, match="down_proj_scales' holds scales that are no numbers"):
        with open_executor("reference", folder):
            pass

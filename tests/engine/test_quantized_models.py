"""Models that come quantized: both executors, exactly where exactness is to be had; what is wrong only in the data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb import loading
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.compressed_tensors import INT_QUANTIZED, QuantizedMatrix, WeightScheme
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.engine.weight_types import WeightTypes, read_rules
from ftllm_nb.errors import CheckpointError
from ftllm_nb.graph.fuse import fuse
from ftllm_nb.ops.linear_group import LinearGroup
from ftllm_nb.quant.base import weight_format
from ftllm_nb.quant.integers import IntegerFormat
from tests.executors import open_executor
from tests.golden.small_models import SMALL_MODELS, prompt, write_checkpoint
from tests.quantized_folders import dequantized, quantize_folder, quantized, write_tensors

MODEL = "llama_head_dim"
CONFIG = {**SMALL_MODELS["llama_mha"], "hidden_size": 128, "intermediate_size": 192}
TOKENS = prompt(MODEL, 40, CONFIG["vocab_size"])
ASYMMETRIC, ROWS = WeightScheme(4, 32, symmetric=False), WeightScheme(8, layout=INT_QUANTIZED)
MIXES: dict[str, dict[str, WeightScheme]] = {
    "int4 groups": {"Linear": ASYMMETRIC},
    # q, k and v, and gate and up, are then read side by side in different formats; o is not quantized.
    "all kinds": {"re:.*([qv]|up)_proj": ASYMMETRIC, "Linear": ROWS},
    "rows": {"re:.*([qv]|up)_proj": WeightScheme(4, symmetric=False), "Linear": ROWS},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("source"), MODEL, CONFIG, "bfloat16")


def logits(executor: Executor) -> NDArray[np.float32]:
    """After 30 tokens at once, then after each of 10."""
    sequence = executor.cache.new_sequence()
    pieces = [TOKENS[:30], *np.split(TOKENS[30:], 10)]
    return np.stack([executor.run([SequenceStep(sequence, piece)])[0].copy() for piece in pieces])


def divergences(expected: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """The Kullback-Leibler divergence of each row's distribution from the expected one."""
    log_p, log_q = (
        rows - np.log(np.exp(rows).sum(-1, keepdims=True)) for rows in (expected.astype(float), found.astype(float))
    )
    return (np.exp(log_p) * (log_p - log_q)).sum(-1)


# The others have kernels that no other quick test has.
@pytest.mark.parametrize(
    "mix", [pytest.param(mix, marks=pytest.mark.slow if mix != "int4 groups" else []) for mix in MIXES]
)
def test_both_executors_compute_with_the_stored_weights(tmp_path: Path, source: Path, mix: str) -> None:
    """The reference does so exactly; the compiled engine rounds activations, which moves distributions a little."""
    target, floats = tmp_path / "quantized", tmp_path / "floats"
    matrices = quantize_folder(source, target, MIXES[mix], scales="bfloat16", ignore=["lm_head", "re:.*o_proj"])
    write_floats(source, floats, matrices)
    assert_computed_with_stored_weights(target, floats)


def assert_computed_with_stored_weights(quantized: Path, floats: Path) -> None:
    """`floats`: a folder of what the quantized one's matrices stand for. The reference computes with exactly that; the
    compiled engine rounds activations, which moves distributions a little, on any number of workers alike."""
    with open_executor("reference", floats) as executor:
        expected = logits(executor)
    with open_executor("reference", quantized) as executor:
        np.testing.assert_array_equal(logits(executor), expected)
    with open_executor("compiled", quantized) as executor:
        found = logits(executor)
    assert divergences(expected, found).mean() < 5e-3
    with open_executor("compiled", quantized, threads=1) as executor:
        np.testing.assert_array_equal(logits(executor), found)


def write_floats(source: Path, target: Path, matrices: dict[str, QuantizedMatrix]) -> None:
    """A float32 folder of what the quantized matrices stand for."""
    target.mkdir()
    (target / "config.json").write_text(json.dumps(CONFIG))
    with open_checkpoint(source) as checkpoint:
        floats = {name: read_float32(checkpoint, name) for name in checkpoint.tensors}
    floats |= {f"{module}.weight": dequantized(matrix) for module, matrix in matrices.items()}
    write_tensors(target / "model.safetensors", {name: ("float32", array) for name, array in floats.items()})


@pytest.mark.parametrize("dtype", ["int4g32", pytest.param("int4", marks=pytest.mark.slow)])
def test_stored_numbers_give_the_bits_of_numbers_rounded_while_loading(
    tmp_path: Path, source: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that holds what `--dtype` makes of the float weights."""
    format = weight_format(dtype)
    assert isinstance(format, IntegerFormat)

    def rounded(weight: NDArray[np.float32], scheme: WeightScheme, scales: str) -> QuantizedMatrix:
        steps, exact = format.encode(weight)
        return QuantizedMatrix(steps.astype(np.int8), exact)

    monkeypatch.setattr("tests.quantized_folders.quantized", rounded)
    quantize_folder(source, tmp_path / "quantized", {"Linear": WeightScheme(format.type.bits, format.type.group)})
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"key": "_proj", "dtype": dtype}]))
    with open_executor("compiled", tmp_path / "quantized") as executor:
        found = logits(executor)
    with open_checkpoint(source) as checkpoint:
        types = WeightTypes(rules=read_rules(rules))
        graph = loading.describe(checkpoint)
        executor = loading.open_executor(graph, checkpoint, types, kv_cache_dtype="float32", threads=2)
        np.testing.assert_array_equal(found, logits(executor))
        executor.close()


def test_products_on_one_input_are_one_where_their_formats_are_the_same(tmp_path: Path, source: Path) -> None:
    quantize_folder(source, tmp_path / "all", MIXES["all kinds"], ignore=["lm_head", "re:.*o_proj"])
    quantize_folder(source, tmp_path / "one", {"Linear": ASYMMETRIC})
    assert grouped(tmp_path / "one") == {("q", "k", "v"), ("gate", "up")}
    assert grouped(tmp_path / "all") == {("q", "v")}


def grouped(folder: Path) -> set[tuple[str, ...]]:
    """The projections that fusion puts together in the first layer."""
    with open_checkpoint(folder) as checkpoint:
        graph = loading.describe(checkpoint)
        nodes = fuse(graph, WeightTypes().formats(graph)).nodes
    groups = (node.inputs for node in nodes if node.operator is LinearGroup)
    return {
        tuple(value.name.split(".")[-2].removesuffix("_proj") for name, value in inputs.items() if "weight" in name)
        for inputs in groups
    }


def test_a_quantized_table_serves_lookups_and_logits(tmp_path: Path) -> None:
    config = {**CONFIG, "tie_word_embeddings": True}
    source = write_checkpoint(tmp_path / "source", MODEL, config, "bfloat16")
    quantize_folder(source, tmp_path / "target", {"model.embed_tokens": ASYMMETRIC}, only="embed", scales="bfloat16")
    with open_executor("reference", tmp_path / "target") as executor:
        expected = logits(executor)
    with open_executor("compiled", tmp_path / "target") as executor:
        assert divergences(expected, logits(executor)).mean() < 5e-3


def test_chosen_types_are_for_the_others(tmp_path: Path, source: Path) -> None:
    quantize_folder(source, tmp_path / "target", {"Linear": ASYMMETRIC})
    with open_checkpoint(tmp_path / "target") as checkpoint:
        graph = loading.describe(checkpoint)
        types = WeightTypes("int8")
        format_of, matrices = types.formats(graph), [value for value in graph.weights.values() if value.type.rank == 2]
        names = {value.name: format_of(value).name for value in matrices}
        kept = types.kept_quantized(graph.weights.values())
        assert WeightTypes().kept_quantized(graph.weights.values()) == []
    assert {name for name in names.values() if name != "int8"} == {"int4g32"}
    assert names["lm_head.weight"] == names["model.embed_tokens.weight"] == "int8"
    assert len(kept) == 1 and "14 matrices" in kept[0] and "int4g32 with zero points, float16 scales" in kept[0]
    with open_checkpoint(source) as checkpoint:
        assert types.kept_quantized(loading.describe(checkpoint).weights.values()) == []


def scale_is_nan(scales: NDArray[np.uint16]) -> None:
    scales[3, 1] = 0x7FC0


def scale_is_infinite(scales: NDArray[np.uint16]) -> None:
    scales[-1, 0] = 0xFF80


@pytest.mark.parametrize("spoil", [scale_is_nan, scale_is_infinite])
def test_scales_that_are_no_numbers(
    tmp_path: Path, source: Path, spoil: Callable[[NDArray[np.uint16]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(weight: NDArray[np.float32], scheme: WeightScheme, scales: str) -> QuantizedMatrix:
        matrix = quantized(weight, scheme, scales)
        spoil(matrix.scales)
        return matrix

    monkeypatch.setattr("tests.quantized_folders.quantized", spoilt)
    quantize_folder(source, tmp_path / "target", {"re:.*0.mlp.up_proj": ASYMMETRIC}, scales="bfloat16")
    with pytest.raises(CheckpointError) as caught, open_executor("compiled", tmp_path / "target"):
        pass
    assert 'the tensor "model.layers.0.mlp.up_proj.weight" holds scales that are not finite' in str(caught.value)


def test_bytes_that_do_not_fit_4_bits(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def large(weight: NDArray[np.float32], scheme: WeightScheme, scales: str) -> QuantizedMatrix:
        groups = weight.shape[1] // 32
        return QuantizedMatrix(np.full(weight.shape, 8, np.int8), np.ones((len(weight), groups), np.float16))

    monkeypatch.setattr("tests.quantized_folders.quantized", large)
    quantize_folder(source, tmp_path / "target", {"Linear": WeightScheme(4, 32, layout=INT_QUANTIZED)})
    with pytest.raises(CheckpointError, match="numbers that do not fit 4 bits"), open_executor(
        "compiled", tmp_path / "target"
    ):
        pass

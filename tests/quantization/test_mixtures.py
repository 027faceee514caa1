"""Folders whose experts are stacks: quantized matrix by matrix, under the names that other programs know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ftllm_nb import loading
from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.checkpoint.gguf import read_gguf
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.graph.build import build_graph
from ftllm_nb.models import graph_class
from ftllm_nb.quantization.formats import output_format
from ftllm_nb.quantization.options import QuantizeOptions
from tests.checkpoint.gguf.test_mixtures import entries as gguf_entries
from tests.checkpoint.gguf.test_mixtures import mixture as gguf_mixture
from tests.checkpoint.gguf.tiny_models import HIDDEN, numbers, write
from tests.gguf_files import Q8_0, floats
from tests.graph.small_graphs import CONFIG
from tests.models.small_configs import MORE
from tests.quantization.test_command import DEMO, quantize

Arrays = dict[str, NDArray[np.float32]]


def written(folder: Path, model_type: str) -> Arrays:
    """A small folder of random numbers."""
    config = CONFIG | MORE[model_type] | {"model_type": model_type}
    shapes = build_graph(graph_class(config), dict(config)).weight_shapes()
    rng = np.random.default_rng(0)
    arrays = {
        name: (rng.standard_normal(shape) * 0.2).astype(np.float32) + np.float32(name.endswith("norm.weight"))
        for name, shape in shapes.items()
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(arrays, folder / "model.safetensors")
    return arrays


def quantized(folder: Path, out: Path, **options: Any) -> None:
    with open_checkpoint(folder) as checkpoint:
        given = QuantizeOptions("int8g32", "rtn", **options)
        output_format(given.format).job(checkpoint, given).write(out, 1, resume=False, replace=False)


def logits(checkpoint: Checkpoint) -> NDArray[np.float32]:
    executor = loading.open_executor(loading.describe(checkpoint), checkpoint, engine="reference")
    try:
        tokens = np.arange(1, 9, dtype=np.int32)
        return executor.run([SequenceStep(executor.cache.new_sequence(), tokens, True)])[0].copy()
    finally:
        executor.close()


def of_gpt_oss(arrays: Arrays, layer: int, expert: int) -> Arrays:
    at = f"model.layers.{layer}.mlp.experts."
    both, down = arrays[f"{at}gate_up_proj"][expert].T, arrays[f"{at}down_proj"][expert].T
    biases = arrays[f"{at}gate_up_proj_bias"][expert]
    return {
        f"{at}{expert}.gate_proj.weight": both[::2], f"{at}{expert}.up_proj.weight": both[1::2],
        f"{at}{expert}.down_proj.weight": down, f"{at}{expert}.gate_proj.bias": biases[::2],
        f"{at}{expert}.up_proj.bias": biases[1::2],
        f"{at}{expert}.down_proj.bias": arrays[f"{at}down_proj_bias"][expert],
    }  # fmt: skip


def of_granite(arrays: Arrays, layer: int, expert: int) -> Arrays:
    at = f"model.layers.{layer}.block_sparse_moe."
    gate, up = np.split(arrays[f"{at}input_linear.weight"][expert], 2)
    return {
        f"{at}experts.{expert}.gate_proj.weight": gate, f"{at}experts.{expert}.up_proj.weight": up,
        f"{at}experts.{expert}.down_proj.weight": arrays[f"{at}output_linear.weight"][expert],
    }  # fmt: skip


@pytest.mark.parametrize(("model_type", "parts_of"), [("gpt_oss", of_gpt_oss), ("granitemoe", of_granite)])
@pytest.mark.parametrize("format", ["compressed_tensors", "packed"])
def test_each_expert_is_a_matrix(model_type: str, parts_of: Any, format: str, tmp_path: Path) -> None:
    arrays = written(tmp_path / "model", model_type)
    quantized(tmp_path / "model", tmp_path / "out", format=format)
    with open_checkpoint(tmp_path / "model") as model, open_checkpoint(tmp_path / "out") as out:
        assert not any(len(info.shape) == 3 for info in out.tensors.values())
        for layer in range(2):
            for expert in range(3):
                for name, values in parts_of(arrays, layer, expert).items():
                    read = out.read(name)
                    assert read.shape == values.shape, name
                    within = 0.0 if name.endswith(".bias") else float(np.abs(values).max()) / 60
                    np.testing.assert_allclose(read, values, rtol=0, atol=within, err_msg=name)
        expected, got = logits(model), logits(out)
    np.testing.assert_allclose(got, expected, rtol=0, atol=0.1 * float(np.abs(expected).max()))


def test_a_packed_folder_holds_the_stacks_of_a_gguf_file(tmp_path: Path) -> None:
    assert quantize(DEMO, "-o", tmp_path / "demo.gguf", "--dtype", "q8_0", "--method", "rtn").returncode == 0
    words = {key: each for key, each in read_gguf(tmp_path / "demo.gguf").metadata.items() if "tokenizer." in key}
    plain = {key: each.tolist() if isinstance(each, np.ndarray) else each for key, each in words.items()}
    tensors = gguf_mixture(Q8_0, as_stacks=True)
    tensors["token_embd.weight"] = floats(numbers(len(words["tokenizer.ggml.tokens"]), HIDDEN))
    file = write(tmp_path, gguf_entries("llama") | plain, tensors)
    done = quantize(file, "-o", tmp_path / "packed", "--format", "packed", "--dtype", "auto")
    assert done.returncode == 0, done.stderr
    with open_checkpoint(file) as given, open_checkpoint(tmp_path / "packed") as packed:
        name = "model.layers.1.block_sparse_moe.experts.w2.weight"
        assert packed.is_packed(name) and packed.tensors[name].dtype == given.tensors[name].dtype
        np.testing.assert_array_equal(packed.read(name), given.read(name))
        np.testing.assert_array_equal(logits(packed), logits(given))

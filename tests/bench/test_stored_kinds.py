"""What info says of a file that has types of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm_nb import loading
from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.cli import main
from ftllm_nb.engine.weight_types import WeightTypes
from tests.checkpoint.gguf.tiny_models import HIDDEN, INNER, as_tensors, matrices, metadata, write
from tests.gguf_files import Q8_0, Tensor

Q4_1 = 3


def test_a_gguf_file_by_kind_of_tensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    up = Tensor((INNER, HIDDEN), Q8_0, bytes(INNER * 34))
    gate = Tensor((INNER, HIDDEN), Q4_1, bytes(INNER * 20))
    tensors = as_tensors(matrices()) | {"blk.1.ffn_up.weight": up, "blk.0.ffn_gate.weight": gate}
    assert main(["info", "-p", str(write(tmp_path, metadata("llama"), tensors))]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "matrices F32; Q4_1; Q8_0" in lines
    first = lines.index("mlp.up_proj F32 × 1 32.00 bits a weight in memory float32")
    assert lines[first + 1] == "mlp.up_proj Q8_0 × 1 8.50 bits a weight in memory int8g32"
    assert "mlp.gate_proj Q4_1 × 1 5.00 bits a weight in memory Q4_1" in lines
    assert "self_attn.q_proj F32 × 2 32.00 bits a weight in memory float32" in lines
    assert "vectors: F32 × 5" in lines
    size, numbers = sum(len(each.data) for each in tensors.values()), 20640
    assert f"all of {size / 1e6:,.1f} MB: {8 * size / numbers:.2f} bits a weight" in lines


def test_a_folder_has_no_types_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "-p", "demo"]) == 0
    assert "bits a weight" not in capsys.readouterr().out


def test_random_weights_of_a_gguf_files_config(tmp_path: Path) -> None:
    path = write(tmp_path, metadata("llama"), as_tensors(matrices()))
    with open_checkpoint(path) as file, open_weights(Settings(path=str(path), random=True)) as checkpoint:
        assert checkpoint.config == file.config
        assert {name: info.shape for name, info in checkpoint.tensors.items()} == {
            name: info.shape for name, info in file.tensors.items()
        }


def test_a_gguf_file_without_a_tokenizer_becomes_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, metadata("llama"), as_tensors(matrices()))
    assert main(["quantize", str(path), "-o", str(tmp_path / "out")]) == 2
    assert "tokenizer.ggml.model is missing: the file has no tokenizer" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_blocks_are_quantized_again_where_dtype_asks_for_it(tmp_path: Path) -> None:
    gate, name = Tensor((INNER, HIDDEN), Q4_1, bytes(INNER * 20)), "model.layers.0.mlp.gate_proj.weight"
    path = write(tmp_path, metadata("llama"), as_tensors(matrices()) | {"blk.0.ffn_gate.weight": gate})
    with open_checkpoint(path) as checkpoint:
        graph = loading.describe(checkpoint)
    for dtype, expected in (("auto", "Q4_1"), ("int8g32", "int8g32"), ("float32", "float32")):
        assert WeightTypes(dtype).formats(graph)(graph.weights[name]).name == expected

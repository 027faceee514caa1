"""Packed folders: the same bits as weights that are quantized while they load, and what is wrong with damaged ones."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from ftllm_nb import llm
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.packed import header
from ftllm_nb.cli import main
from ftllm_nb.engine import packed_loading
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.errors import CheckpointError
from tests.executors import ENGINES, open_executor
from tests.golden.small_models import SMALL_MODELS, prompt, write_checkpoint

MODEL = "qwen2_gqa"
TOKENS = prompt(MODEL, 20, SMALL_MODELS[MODEL]["vocab_size"])
MATRIX = "model.layers.0.mlp.up_proj.weight"


def quantized(model: object, out: Path, *flags: str) -> Path:
    assert main(["quantize", str(model), "-o", str(out), "--format", "packed", *flags]) == 0
    return out


def logits(executor: Executor) -> np.ndarray:
    return executor.run([SequenceStep(executor.cache.new_sequence(), TOKENS, len(TOKENS))]).copy()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("models") / MODEL, MODEL, SMALL_MODELS[MODEL], "bfloat16")


@pytest.fixture(scope="module")
def packed(small: Path) -> Path:
    """Rows that fill no block and columns that fill no group."""
    return quantized(small, small.with_name("packed"), "--dtype", "int8", "--method", "rtn")


def test_memory_is_that_of_weights_quantized_while_they_load(
    small: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_loading, "BYTES_AT_ONCE", 1000)
    for engine in ENGINES:
        with open_executor(engine, small, dtype="int8") as executor:
            expected = logits(executor)
        with open_executor(engine, packed) as executor:
            np.testing.assert_array_equal(logits(executor), expected)


@pytest.mark.parametrize(
    "dtype", ["int4g32", "int8", *(pytest.param(name, marks=pytest.mark.slow) for name in ("int4g128", "int4"))]
)
def test_the_demo_model_gives_the_same_bits(tmp_path: Path, dtype: str) -> None:
    folder = quantized("demo", tmp_path / "out", "--dtype", dtype, "--method", "rtn")
    with llm.model(folder) as model, llm.model("demo", dtype=dtype) as other:
        question = "What is 17 + 25?"
        np.testing.assert_array_equal(model.response_logits(question), other.response_logits(question))
        assert model.weight_dtype == dtype


@pytest.mark.slow
def test_zero_points_and_matrices_left_as_they_are(tmp_path: Path, small: Path) -> None:
    """Packed and compressed-tensors folders hold the same numbers."""
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"key": "embed|lm_head|down_proj", "dtype": "auto"}]))
    flags = ["--dtype", "int4", "--asymmetric", "--dtype_config", str(rules)]
    first = quantized(small, tmp_path / "packed", *flags)
    assert main(["quantize", str(small), "-o", str(tmp_path / "other"), *flags]) == 0
    with open_executor("compiled", first) as one, open_executor("compiled", tmp_path / "other") as other:
        np.testing.assert_array_equal(logits(one), logits(other))


def test_what_chat_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = quantized("demo", tmp_path / "out", "--dtype", "int4g32")
    capsys.readouterr()
    assert main(["chat", "-p", str(folder), "--temperature", "0", "-m", "What is 17 + 25?"]) == 0
    assert capsys.readouterr().out == "42\n"


def config_changed(change: Callable[[dict[str, Any]], None], sign: bool = True) -> Callable[[Path], None]:
    """What changes a folder's header, and its checksum with it where `sign`."""

    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        quantization = config["quantization_config"]
        change(quantization)
        if sign:
            del quantization["checksum"]
            quantization["checksum"] = header._checksum(quantization)
        (folder / "config.json").write_text(json.dumps(config))

    return apply


def set_in(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(quantization: dict[str, Any]) -> None:
        for name in path[:-1]:
            quantization = quantization[name]
        quantization[path[-1]] = value

    return change


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def unpacked_weights(folder: Path) -> None:
    shutil.copy(folder.with_name(MODEL) / "model.safetensors", folder)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "version": (config_changed(set_in("version", value=1)), "version 1 of packed models, .* reads version 2: make it"),
    "no version": (config_changed(lambda header: header.pop("version")), "version null"),
    "layout": (config_changed(set_in("layout", value="rows32")), "in the layout 'rows32', .* read rows16: make it"),
    "shape": (
        config_changed(set_in("tensors", MATRIX, "shape", value=[1, 2]), sign=False),
        "does not match its own checksum",
    ),
    "no checksum": (config_changed(lambda header: header.pop("checksum"), sign=False), "its own checksum"),
    "lying shape": (config_changed(set_in("tensors", MATRIX, "shape", value=[999, 56])), "do not belong together"),
    "huge shape": (config_changed(set_in("tensors", MATRIX, "shape", value=[10**30, 56])), r"\[rows, columns\]"),
    "negative shape": (config_changed(set_in("tensors", MATRIX, "shape", value=[-16, 56])), r"\[rows, columns\]"),
    "four axes": (config_changed(set_in("tensors", MATRIX, "shape", value=[1, 1, 2, 3])), r"\[rows, columns\]"),
    "other type": (config_changed(set_in("tensors", MATRIX, "dtype", value="int4_float16")), "do not belong together"),
    "no sum": (config_changed(set_in("tensors", MATRIX, "checksum", value="12")), "16 hexadecimal digits"),
    "no type": (config_changed(set_in("tensors", MATRIX, "dtype", value="float13")), "is of type 'float13'"),
    "no entry": (config_changed(set_in("tensors", MATRIX, value=3)), r"\[rows, columns\]"),
    "no tensors": (config_changed(set_in("tensors", value=[])), "its own checksum"),
    "unknown name": (
        config_changed(
            set_in("tensors", "ghost", value={"shape": [1, 1], "dtype": "int8_float16", "checksum": "0" * 16})
        ),
        "lacks the tensor 'ghost'",
    ),
    "cut": (cut, "is truncated"),
    "other weights": (unpacked_weights, "do not belong together"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("change", ["a bit", "a page of zeros"])
def test_bytes_that_changed_on_the_disk(packed: Path, tmp_path: Path, engine: str, change: str) -> None:
    shutil.copytree(packed, tmp_path / "packed")
    weights = tmp_path / "packed" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    with safe_open(weights, "np") as file:
        matrix = file.get_tensor(MATRIX).tobytes()
    place = content.index(matrix) + 16
    if change == "a bit":
        content[place] ^= 4
    else:
        content[place : place + 512] = bytes(512)
    weights.write_bytes(content)
    sentence = f"the bytes of tensor '{MATRIX}' do not bear out .* file is damaged"
    with pytest.raises(CheckpointError, match=sentence), open_executor(engine, tmp_path / "packed") as executor:
        logits(executor)


def test_a_killed_run_that_goes_on_notes_the_same_checksums(small: Path, packed: Path, tmp_path: Path) -> None:
    flags = ["quantize", str(small), "-o", str(tmp_path / "out"), "--format", "packed", "--dtype", "int8"]
    flags += ["--method", "rtn"]
    driver = Path(__file__).parents[2] / "quantization" / "hindered_run.py"
    root = Path(__file__).parents[3]
    killed = subprocess.run([sys.executable, driver, "kill=9", *flags], cwd=root, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert main([*flags, "--resume"]) == 0
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (packed / name).read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folders(packed: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(packed, tmp_path / "packed")
    shutil.copytree(packed.with_name(MODEL), tmp_path / MODEL)
    spoil, sentence = DAMAGES[damage]
    spoil(tmp_path / "packed")
    with pytest.raises(CheckpointError, match=sentence) as found:
        open_checkpoint(tmp_path / "packed")
    assert str(tmp_path / "packed") in str(found.value)


def test_a_folder_of_another_version_is_one_sentence(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(packed, tmp_path / "packed")
    config_changed(set_in("version", value=9))(tmp_path / "packed")
    assert main(["chat", "-p", str(tmp_path / "packed"), "-m", "hi"]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("error: ") and output.err.count("\n") == 1


def test_a_file_that_becomes_shorter_is_one_sentence(packed: Path, tmp_path: Path) -> None:
    """Between its header's check and its reading."""
    shutil.copytree(packed, tmp_path / "packed")
    checkpoint = open_checkpoint(tmp_path / "packed")
    cut(tmp_path / "packed")
    with checkpoint, pytest.raises(CheckpointError, match="became shorter"):
        for name in checkpoint.tensors:
            checkpoint.read_into(name, 0, np.empty(checkpoint.tensors[name].nbytes, np.uint8))


def test_quantizing_what_is_packed_is_refused(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quantize", str(packed), "-o", str(tmp_path / "twice")]) == 2
    assert "is quantized already" in capsys.readouterr().err
    assert not (tmp_path / "twice").exists()

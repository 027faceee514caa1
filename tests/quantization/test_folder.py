"""Folders that are written: every tensor is what the methods' twins say, in one file or in many; copies lie beside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.compressed_tensors import unpack, unpack_zero_points
from ftllm_nb.checkpoint.folder import FolderCheckpoint
from ftllm_nb.checkpoint.safetensors import SafetensorsFile
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.graph.build import build_graph
from ftllm_nb.loading import describe, open_executor
from ftllm_nb.models import graph_class
from ftllm_nb.quantization import run
from ftllm_nb.quantization.shards import lay_out
from ftllm_nb.quantization.tensors import OutputTensor
from tests.golden.small_models import SMALL_MODELS, tensor, to_stored_type, write_checkpoint
from tests.memory_checkpoint import normal
from tests.quantization import twins
from tests.quantization.test_command import quantize


def files_of(folder: Path) -> dict[str, np.ndarray]:
    """All tensors of a folder, read by the safetensors package; bfloat16 is left out, which NumPy does not know."""
    tensors = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "np") as opened:
            for name in opened.keys():
                if opened.get_slice(name).get_dtype() != "BF16":
                    tensors[name] = opened.get_tensor(name)
    return tensors


@pytest.mark.parametrize(
    "stored, dtype, flags",
    [
        ("float32", "int4g32", ()),
        ("bfloat16", "int4g32", ("--asymmetric",)),
        ("bfloat16", "int8", ()),
        ("float16", "int4g32", ("--method", "rtn")),
        ("bfloat16", "int8g64", ("--method", "rtn")),
    ],
)
def test_numbers_scales_and_zero_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str, dtype: str, flags: tuple[str, ...]
) -> None:
    model = "llama_head_dim" if dtype == "int8" else "llama_mha"
    write_checkpoint(tmp_path / "model", model, SMALL_MODELS[model], stored)
    monkeypatch.setattr(run, "BYTES_AT_ONCE", 5000)  # some rows at a time
    done = quantize(tmp_path / "model", "-o", tmp_path / "out", "--dtype", dtype, "--max_shard_size", "40kB", *flags)
    assert done.returncode == 0
    told = "warning: 96 columns are no multiple of 64 (2 matrices): --dry_run shows what is taken instead.\n"
    assert done.stderr == (told if dtype == "int8g64" else "")
    tensors = files_of(tmp_path / "out")
    bits, group, method = int(dtype[3]), int(dtype[5:] or 0), "rtn" if "rtn" in flags else "mse"
    for name, columns in (("mlp.up_proj", SMALL_MODELS[model]["hidden_size"]), ("mlp.down_proj", 96)):
        module = f"model.layers.1.{name}"
        rows = 96 if name == "mlp.up_proj" else SMALL_MODELS[model]["hidden_size"]
        weights = to_stored_type(tensor(model, f"{module}.weight", (rows, columns)), stored)
        if stored == "bfloat16":
            weights = (weights.astype(np.uint32) << 16).view(np.float32)
        fitting = group if not group or columns % group == 0 else 32
        numbers, scales, zeros = twins.quantized(
            method, weights.astype(np.float32), bits, fitting, "--asymmetric" not in flags
        )
        np.testing.assert_array_equal(tensors[f"{module}.weight_scale"], scales)
        if dtype == "int8":
            np.testing.assert_array_equal(tensors[f"{module}.weight"], numbers)
            continue
        np.testing.assert_array_equal(unpack(tensors[f"{module}.weight_packed"], bits, columns), numbers)
        assert tensors[f"{module}.weight_shape"].tolist() == [rows, columns]
        if flags == ("--asymmetric",):
            read = unpack_zero_points(tensors[f"{module}.weight_zero_point"], bits, rows)
            np.testing.assert_array_equal(read + (1 << (bits - 1)), zeros)


def test_many_files_hold_what_one_holds(tmp_path: Path) -> None:
    model = "llama_mha"
    write_checkpoint(tmp_path / "model", model, SMALL_MODELS[model], "bfloat16")
    for name, size in (("one", "5GB"), ("many", "30KB")):
        assert quantize(tmp_path / "model", "-o", tmp_path / name, "--max-shard-size", size).returncode == 0
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())
    shards = sorted(file.name for file in (tmp_path / "many").glob("*.safetensors"))
    count = len(shards)
    assert count > 2 and shards == [f"model-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1)]
    (one,) = (tmp_path / "one").glob("*.safetensors")
    whole = SafetensorsFile(one)
    parts = {shard: SafetensorsFile(tmp_path / "many" / shard) for shard in shards}
    assert sorted(index["weight_map"]) == sorted(whole.tensors)
    assert index["metadata"]["total_size"] == sum(info.nbytes for info in whole.tensors.values())
    for name, shard in index["weight_map"].items():
        assert whole.read(name).tobytes() == parts[shard].read(name).tobytes()
    # A module's tensors lie in one file.
    modules = {}
    for name, shard in index["weight_map"].items():
        if "_proj.weight_" in name:
            assert modules.setdefault(name.partition(".weight_")[0], shard) == shard


@given(
    sizes=st.lists(st.tuples(st.sampled_from(["I64", "I32", "F16", "BF16", "I8"]), st.integers(0, 50)), min_size=1),
    largest=st.integers(1, 400),
)
def test_layouts_are_what_readers_expect(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[str, int]], largest: int
) -> None:
    groups = [[OutputTensor.of(f"t{n}", dtype, (count,))] for n, (dtype, count) in enumerate(sizes)]
    layout = lay_out(groups, largest)
    folder = tmp_path_factory.mktemp("layout")
    for shard in layout.shards:
        (folder / shard.name).write_bytes(shard.header + bytes(shard.size - len(shard.header)))
        file = SafetensorsFile(folder / shard.name)  # checks offsets, gaps and sizes
        assert set(file.tensors) == set(shard.starts)
        assert sum(info.nbytes for info in file.tensors.values()) <= largest or len(file.tensors) == 1
        assert len(shard.header) % 64 == 0
        for (group,) in groups:
            if group.name in shard.starts and group.nbytes:
                assert shard.starts[group.name] % (group.nbytes // group.shape[0]) == 0
    assert sum(len(shard.starts) for shard in layout.shards) == len(groups)


def test_the_file_that_described_the_model_lies_beside(tmp_path: Path) -> None:
    custom = Path(__file__).parents[2] / "examples" / "qwen2.py"
    write_checkpoint(tmp_path / "model", "qwen2_gqa", SMALL_MODELS["qwen2_gqa"])
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "model" / "pytorch_model.bin").write_text("not to be copied")
    done = quantize(tmp_path / "model", "-o", tmp_path / "out", "--dtype", "int8", "--custom", custom)
    assert (done.returncode, done.stderr) == (0, "")
    names = {"config.json", "model.safetensors", "chat_template.jinja", "qwen2.py"}
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == names
    assert (tmp_path / "out" / "qwen2.py").read_bytes() == custom.read_bytes()


def test_no_more_than_some_rows_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "model", "llama_mha", SMALL_MODELS["llama_mha"], "bfloat16")
    monkeypatch.setattr(run, "BYTES_AT_ONCE", 4096)
    sizes: list[int] = []
    read_into = FolderCheckpoint.read_into

    def noted(self: FolderCheckpoint, name: str, start: int, target: np.ndarray) -> None:
        sizes.append(target.nbytes)
        read_into(self, name, start, target)

    monkeypatch.setattr(FolderCheckpoint, "read_into", noted)
    monkeypatch.setattr(FolderCheckpoint, "read", None)
    assert quantize(tmp_path / "model", "-o", tmp_path / "out", "--dtype", "int8").returncode == 0
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert max(sizes) <= 4096 and 0.9 * size < sum(sizes) < size


# Products are compiled for scales of each type: a packed folder's, and these of float16, are those of quick tests.
@pytest.mark.parametrize(
    ("format", "stored"),
    [
        ("packed", np.float32), ("compressed_tensors", np.float16),
        *(pytest.param(*each, marks=pytest.mark.slow)
          for each in (("packed", np.float16), ("compressed_tensors", np.float32))),
    ],
)  # fmt: skip
def test_matrices_that_lie_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, stored: type
) -> None:
    """GPT-2's: written the way that products read them, and the same logits as quantized while they load."""
    config = {
        "model_type": "gpt2", "n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 32, "n_inner": 160,
        "vocab_size": 40,
    }  # fmt: skip
    shapes = build_graph(graph_class(config), config).weight_shapes()
    model, out = tmp_path / "model", tmp_path / "out"
    model.mkdir()
    weights = {name: normal(number, *shape).astype(stored) for number, (name, shape) in enumerate(shapes.items())}
    save_file(weights, model / "model.safetensors")
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setattr(run, "BYTES_AT_ONCE", 5000)  # some rows at a time
    done = quantize(model, "-o", out, "--dtype", "int4g32", "--method", "rtn", "--format", format)
    assert done.returncode == 0
    assert done.stderr == (
        "warning: matrices that the model stores as [in, out] are written as [out, in], which config.json's "
        "stores_transposed says: other programs do not load that.\n"
    )
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))["stores_transposed"] is False
    embedding = "auto" if format == "packed" else np.dtype(stored).name
    expected, found = logits(model, WeightTypes("int4g32", embedding)), logits(out, WeightTypes())
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(found, expected)


def logits(folder: Path, types: WeightTypes) -> np.ndarray:
    with open_checkpoint(folder) as checkpoint:
        executor = open_executor(describe(checkpoint), checkpoint, types, kv_cache_dtype="float32", threads=1)
        try:
            ids = np.arange(12, dtype=np.int32)
            return executor.run([SequenceStep(executor.cache.new_sequence(), ids, 12)]).copy()
        finally:
            executor.close()

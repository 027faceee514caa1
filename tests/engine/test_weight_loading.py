"""Loading a folder: what memory it takes, which pages it gives back, and how a damaged tensor is reported."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb.benchmark.workload import size_of
from ftllm_nb.engine import weight_loading
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import CheckpointError, EngineError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.models import graph_class
from tests.engine.two_engines import checked_graph
from tests.golden.small_models import SMALL_MODELS, tensor_shapes
from tests.memory_checkpoint import MemoryCheckpoint, normal

TIED = {**SMALL_MODELS["qwen2_tied"], "num_key_value_heads": 2}


def checkpoint_of(config: dict[str, Any], **changed: Any) -> MemoryCheckpoint:
    arrays = {name: normal(seed, *shape) for seed, (name, shape) in enumerate(tensor_shapes(config).items())}
    return MemoryCheckpoint(config, {**arrays, **changed})


def described(checkpoint: MemoryCheckpoint) -> CheckedGraph:
    return check_graph(build_graph(graph_class(checkpoint.config), checkpoint.config), checkpoint.tensors)


def test_each_tensor_is_read_once_and_given_back() -> None:
    """Tied embeddings as well, which two operators read."""
    checkpoint = checkpoint_of(TIED)
    seen: list[tuple[str, int, int]] = []
    executor = CompiledExecutor(
        described(checkpoint), checkpoint, progress=lambda *step: seen.append(step), threads=2
    )
    executor.close()
    assert sorted(checkpoint.reads) == sorted(checkpoint.released) == sorted(checkpoint.tensors)
    matrices = sum(info.nbytes for info in checkpoint.tensors.values() if len(info.shape) == 2)
    loaded = [(done, total) for what, done, total in seen if what == "load"]
    assert loaded[-1] == (matrices, matrices) and loaded == sorted(loaded)


def test_weights_beyond_the_memory_are_refused_before_any_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = checkpoint_of(TIED)
    graph, types = described(checkpoint), WeightTypes("int8")
    needed = size_of(graph, types).weight_bytes
    monkeypatch.setattr(weight_loading, "obtainable_bytes", lambda: needed // 2)
    with pytest.raises(EngineError, match=r"weights need 0\.\d MB of memory, and 0\.\d MB are free: close other"):
        CompiledExecutor(graph, checkpoint, weight_types=types)
    assert checkpoint.reads == []
    for enough in (None, needed):
        monkeypatch.setattr(weight_loading, "obtainable_bytes", lambda enough=enough: enough)
        CompiledExecutor(graph, checkpoint, weight_types=types).close()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4g32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 65520.0])
def test_numbers_that_a_format_cannot_hold_are_reported_with_their_tensor(dtype: str, value: float) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    damaged = normal(1, *tensor_shapes(TIED)[name])
    damaged[3, 5] = value
    checkpoint = checkpoint_of(TIED, **{name: damaged})
    graph, types = described(checkpoint), WeightTypes(dtype)
    if dtype == "float32" or (np.isfinite(value) and dtype != "float16"):
        CompiledExecutor(graph, checkpoint, weight_types=types).close()
        return
    with pytest.raises(CheckpointError, match=f'"{name}" holds numbers that are not finite, or too large for {dtype}'):
        CompiledExecutor(graph, checkpoint, weight_types=types)


@pytest.mark.parametrize("dtype", ["int8", "int4g32"])
def test_a_matrix_whose_scales_float16_does_not_hold_is_refused_and_one_of_zeros_is_not(dtype: str) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    shape = tensor_shapes(TIED)[name]
    for factor in (0.0, 2.0**-12):
        checkpoint = checkpoint_of(TIED, **{name: normal(1, *shape) * np.float32(factor)})
        CompiledExecutor(described(checkpoint), checkpoint, weight_types=WeightTypes(dtype)).close()
    checkpoint = checkpoint_of(TIED, **{name: normal(1, *shape) * np.float32(2.0**-20)})
    with pytest.raises(CheckpointError, match=f'"{name}" holds numbers too small for {dtype}, whose scales'):
        CompiledExecutor(described(checkpoint), checkpoint, weight_types=WeightTypes(dtype))


def test_rows_whose_sums_would_pass_int32_are_refused() -> None:
    config = {**TIED, "intermediate_size": 132_160, "num_hidden_layers": 1}
    checkpoint = checkpoint_of(config)
    with pytest.raises(CheckpointError, match="rows of 132160 numbers, of which int8 can add 132104: it needs a type"):
        CompiledExecutor(described(checkpoint), checkpoint, weight_types=WeightTypes("int8"))
    CompiledExecutor(described(checkpoint), checkpoint, weight_types=WeightTypes("int4g32")).close()


def test_two_models_in_one_process() -> None:
    """They share kernels and nothing else: each gives what it gives alone."""
    configs = [TIED, {**SMALL_MODELS["llama_mha"], "num_key_value_heads": 2}]
    checkpoints = [checkpoint_of(config) for config in configs]
    ids = np.arange(3, 40, dtype=np.int32)
    alone = []
    for checkpoint in checkpoints:
        executor = CompiledExecutor(described(checkpoint), checkpoint, threads=2)
        alone.append(executor.run([SequenceStep(executor.cache.new_sequence(), ids)]).copy())
        executor.close()
    executors = [CompiledExecutor(described(checkpoint), checkpoint, threads=2) for checkpoint in checkpoints]
    sequences = [executor.cache.new_sequence() for executor in executors]
    for begin, end in ((0, 20), (20, 37)):
        together = [
            executor.run([SequenceStep(sequence, ids[begin:end])]).copy()
            for executor, sequence in zip(executors, sequences, strict=True)
        ]
    for executor, found, expected in zip(executors, together, alone, strict=True):
        np.testing.assert_array_equal(found, expected)
        executor.close()


LARGE = {
    **TIED, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_key_value_heads": 16,
    "vocab_size": 16_000, "num_hidden_layers": 7, "max_position_embeddings": 256,
}  # fmt: skip
PEAK = """
import sys
from tests.executors import open_executor
from pathlib import Path

with open_executor("compiled", Path(sys.argv[1]), dtype=sys.argv[2], threads=2) as executor:
    packed = sum(part.format.packed_bytes(*part.weight.type.shape) for part in executor._program.weights)
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
print(packed, peak)
"""


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """270 MB of bfloat16, of which 32 are the largest tensor."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "config.json").write_text(json.dumps({**LARGE, "torch_dtype": "bfloat16"}))
    header, end = {}, 0
    for name, shape in tensor_shapes(LARGE).items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    values = (normal(0, 1 << 20, scale=0.02).view(np.uint32) >> np.uint32(16)).astype(np.uint16).tobytes()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for begin in range(0, end, len(values)):
            file.write(values[: end - begin])
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell the peak")
@pytest.mark.parametrize("dtype", ["auto", "int4g32"])
def test_the_peak_of_memory_is_that_of_the_packed_weights(large_folder: Path, dtype: str) -> None:
    """And of the largest tensor, and 300 MB; with the file's pages kept, or tied embeddings twice, it would be more."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(large_folder), dtype], capture_output=True, text=True, check=True
    )
    packed, peak = map(int, done.stdout.split())
    largest = 2 * LARGE["vocab_size"] * LARGE["hidden_size"]
    print(f"{dtype}: {packed / 1e6:.0f} MB of packed weights, {peak / 1e6:.0f} MB at most")
    assert packed < 1.1 * {"auto": 1, "int4g32": 0.35}[dtype] * (large_folder / "model.safetensors").stat().st_size
    assert peak < packed + largest + 300e6


def of_turned_stacks(self: ComputeGraph) -> None:
    """Experts stored as [in, out], as gpt-oss and Llama 4 have them."""
    data, weight = self.data, self.weight
    self.Embedding(data["inputIds"], weight["embed"], data["x"])
    self.Linear(data["x"], weight["router"], None, data["scores"])
    self.SelectExpert(data["scores"], data["index"], data["score"], 1, 2)
    gate, down = weight["gate_up"].transposed(), weight["down"].transposed()
    self.MergeMOE(data["x"], data["index"], data["score"], gate, None, down, data["y"])
    self.SplitLastTokenStates(data["y"], data["seqLens"], data["y"])
    self.Linear(data["y"], weight["head"], None, data["logits"])


@pytest.mark.parametrize("dtype", ["float32", pytest.param("int4g32", marks=pytest.mark.slow)])
def test_stacks_of_experts_are_never_copied_whole(dtype: str) -> None:
    experts, hidden, inner = 64, 128, 160
    arrays = {
        "embed": normal(1, 32, hidden), "router": normal(2, experts, hidden), "head": normal(3, 32, hidden),
        "gate_up": normal(4, experts, hidden, 2 * inner), "down": normal(5, experts, inner, hidden),
    }  # fmt: skip
    checkpoint = MemoryCheckpoint({"max_position_embeddings": 64, "vocab_size": 32}, arrays)
    graph = checked_graph(of_turned_stacks, checkpoint)
    CompiledExecutor(graph, checkpoint, weight_types=WeightTypes(dtype)).close()  # compiles, which takes memory
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        executor = CompiledExecutor(graph, checkpoint, weight_types=WeightTypes(dtype))
        taken = tracemalloc.get_traced_memory()[1] - before
        executor.close()
    finally:
        tracemalloc.stop()
    assert taken < arrays["gate_up"].nbytes / 2  # the packed weights are memory of the system, and not counted

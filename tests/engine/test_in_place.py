"""Experts of packed folders that are used where they lie: the same bits, little memory, and files that change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ftllm_nb import loading
from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.checkpoint.checksum import checksum
from ftllm_nb.checkpoint.packed import BlockForm, write_header
from ftllm_nb.engine import in_place
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import AS_STORED
from ftllm_nb.errors import CheckpointError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.quantized_type import QuantizedType
from tests.graph.small_graphs import graph_class
from tests.memory_checkpoint import normal

VOCAB, HIDDEN, INNER, EXPERTS, PICKS = 19, 64, 40, 6, 2
FORM = BlockForm(QuantizedType(8, 32))
IDS = (np.arange(30) * 7 % VOCAB).astype(np.int32)


def mixture(stacked: bool) -> type[ComputeGraph]:
    """A model of nothing but a mixture, its experts stacks, or a matrix each."""

    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        names = ("gate", "up", "down")
        stacks = [weight[name] if stacked else [weight[f"{name}.{e}"] for e in range(EXPERTS)] for name in names]
        self.Embedding(data["inputIds"], weight["embed"], data["x"])
        self.Linear(data["x"], weight["router"], None, data["scores"])
        self.SoftMax(data["scores"], data["scores"])
        self.SelectExpert(data["scores"], data["index"], data["score"], PICKS, 1)
        self.MergeMOE(data["x"], data["index"], data["score"], *stacks, data["y"])
        self.AddTo(data["x"], data["y"])
        self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        self.Linear(data["x"], weight["head"], None, data["logits"])

    return graph_class(build)


def blocks(seed: int, rows: int, columns: int) -> NDArray[np.uint8]:
    """A packed matrix of random numbers."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 256, (rows, columns)).astype(np.uint8)
    scales = random.uniform(0.001, 0.003, (rows, FORM.type.groups(columns))).astype(np.float16)
    return FORM.pack(numbers, scales, None, columns)


def written(folder: Path, stacked: bool) -> Path:
    floats = {"embed": normal(1, VOCAB, HIDDEN), "router": normal(2, EXPERTS, HIDDEN), "head": normal(3, VOCAB, HIDDEN)}
    packed, shapes = dict[str, NDArray[np.uint8]](), dict[str, tuple[int, ...]]()
    for number, (name, *shape) in enumerate((("gate", INNER, HIDDEN), ("up", INNER, HIDDEN), ("down", HIDDEN, INNER))):
        experts = {f"{name}.{e}": blocks(100 * number + e, *shape) for e in range(EXPERTS)}
        if stacked:
            packed[name], shapes[name] = np.concatenate(list(experts.values())), (EXPERTS, *shape)
        else:
            packed |= experts
            shapes |= dict.fromkeys(experts, tuple(shape))
    folder.mkdir()
    save_file({**floats, **packed}, folder / "model.safetensors")
    header = write_header({name: (shapes[name], FORM.type, checksum(each)) for name, each in packed.items()})
    config = {"model_type": "none", "max_position_embeddings": 64, "vocab_size": VOCAB, "quantization_config": header}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def described(checkpoint: Checkpoint, stacked: bool) -> CheckedGraph:
    return check_graph(build_graph(mixture(stacked), checkpoint.config), checkpoint.tensors)


@contextmanager
def opened(folder: Path, stacked: bool, in_place: bool) -> Iterator[tuple[CompiledExecutor, Checkpoint]]:
    with open_checkpoint(folder) as checkpoint:
        executor = CompiledExecutor(described(checkpoint, stacked), checkpoint, threads=2, in_place=in_place)
        try:
            yield executor, checkpoint
        finally:
            executor.close()


def logits(executor: CompiledExecutor) -> NDArray[np.float32]:
    """After 25 tokens at once, then after each of 5."""
    sequence = executor.cache.new_sequence()
    pieces = [IDS[:25], *np.split(IDS[25:], 5)]
    return np.stack([executor.run([SequenceStep(sequence, piece)])[0].copy() for piece in pieces])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("mixture") / "model", stacked=False)


@pytest.mark.parametrize("stacked", [False, True])
def test_the_bits_are_those_of_copied_experts(stacked: bool, tmp_path: Path) -> None:
    folder = written(tmp_path / "model", stacked)
    with opened(folder, stacked, in_place=False) as (executor, _):
        assert not any(part.in_place for part in executor._program.weights)
        expected = logits(executor)
    with opened(folder, stacked, in_place=True) as (executor, checkpoint):
        placed = {part.weight.name: part.address for part in executor._program.weights if part.in_place}
        assert placed == {name: checkpoint.mapped(name).ctypes.data for name in placed}
        assert set(placed) == {name for name in checkpoint.tensors if checkpoint.is_packed(name)}
        np.testing.assert_array_equal(logits(executor), expected)
    assert np.isfinite(expected).all() and np.ptp(expected) > 1


def test_a_file_that_is_written_stops_the_model_and_one_that_is_replaced_does_not(tmp_path: Path) -> None:
    file = written(tmp_path / "model", stacked=False) / "model.safetensors"
    content = file.read_bytes()
    with opened(file.parent, False, in_place=True) as (executor, _):
        expected = logits(executor)
        other = file.with_name("other")
        other.write_bytes(bytes(len(content)))
        os.replace(other, file)
        np.testing.assert_array_equal(logits(executor), expected)
    file.write_bytes(content)
    with opened(file.parent, False, in_place=True) as (executor, _):
        os.utime(file, ns=(0, 1))
        with pytest.raises(CheckpointError, match=r"model\.safetensors was written while it was in use: load the"):
            logits(executor)
    with opened(file.parent, False, in_place=True) as (executor, _):
        os.truncate(file, len(content) - 4096)
        with pytest.raises(CheckpointError, match=r"model\.safetensors became shorter while it was in use"):
            logits(executor)


def test_damaged_bytes_are_found_while_it_loads(tmp_path: Path) -> None:
    file = written(tmp_path / "model", stacked=False) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="do not bear out the checksum"), opened(file.parent, False, True):
        pass


@pytest.mark.parametrize(("share", "stays"), [(0.51, True), (0.49, False)])
def test_experts_are_copied_where_memory_holds_them_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, share: float, stays: bool
) -> None:
    with open_checkpoint(folder) as checkpoint:
        graph = described(checkpoint, stacked=False)
        format_of = AS_STORED.formats(graph)
        total = sum(in_place.packed_size(value, format_of(value)) for value in graph.packed)
        said: list[str] = []
        for free, is_said in ((int(total / share), stays), (None, False)):
            monkeypatch.setattr(in_place, "available_bytes", lambda free=free: free)
            for engine in ("compiled", "reference"):
                executor = loading.open_executor(graph, checkpoint, AS_STORED, engine=engine, warn=said.append)
                parts = executor._program.weights if engine == "compiled" else []  # type: ignore[attr-defined]
                assert any(part.in_place for part in parts) == (is_said and engine == "compiled")
                executor.close()
            assert [("experts," in each, str(folder) in each) for each in said] == [(True, True)] * is_said
            said.clear()


def test_models_that_are_not_packed_have_no_experts_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_place, "available_bytes", lambda: 1)
    with open_checkpoint(loading.model_folder("demo")) as checkpoint:
        assert in_place.stays_in_place(loading.describe(checkpoint), checkpoint, AS_STORED) is None


MEMORY = """
import gc
import sys
from pathlib import Path
from tests.engine import test_in_place as tests

def anonymous():
    lines = dict(line.split(":") for line in open("/proc/self/smaps_rollup").read().splitlines()[1:])
    return int(lines["Anonymous"].split()[0]) << 10

tests.HIDDEN, tests.INNER, tests.EXPERTS = 256, 512, 128
folder = tests.written(Path(sys.argv[1]), stacked=True)
taken = []
for in_place in (True, False, True, True):  # kernels and libraries come with the first
    gc.collect()
    before = anonymous()
    with tests.opened(folder, True, in_place):
        taken.append(anonymous() - before)
print((folder / "model.safetensors").stat().st_size, *taken[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="this system does not tell anonymous memory")
def test_experts_in_place_take_no_memory_of_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "model")], capture_output=True, text=True, check=True
    )
    stored, copied, *mapped = map(int, done.stdout.split())
    # What threads and allocators take besides varies; one of the three stacks would be a third.
    assert stored > 50e6 and copied > stored and min(mapped) < 0.3 * stored, (stored, copied, mapped)

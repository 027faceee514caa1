"""Caches as NumPy reads and writes them, against the kernel that stores, and operators without a kernel at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.host_cache import CachePart, HostCache
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.session import Session
from ftllm_nb.errors import GraphError, StepStopped
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.cache_rows import store_kernel
from ftllm_nb.kernels.step import STEP_POSITIONS, STEP_SLOTS
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, SequenceCache, StepContext
from ftllm_nb.ops.fused_attention import attend, visible_keys
from ftllm_nb.ops.reach import Reach
from tests.engine.two_engines import IDS, KINDS, STEPS, assert_alike, checked_graph, opened
from tests.graph.small_graphs import HEAD_DIM, HIDDEN, TENSORS, Build, begin, end, project
from tests.graph.small_graphs import attend as attend_fused
from tests.kernels.cache_blocks import POSITIONS, Layout, hadamard_matrix
from tests.kernels.kernel_runs import Rows, run
from tests.memory_checkpoint import MemoryCheckpoint, normal

ARRAYS = {name: normal(number, *header.shape, scale=0.3) for number, (name, header) in enumerate(TENSORS.items())}
PAIRS = ARRAYS | {
    "k.weight": normal(20, 3 * HEAD_DIM, HIDDEN, scale=0.3), "v.weight": normal(21, 3 * HEAD_DIM, HIDDEN, scale=0.3),
    "v.bias": normal(22, 3 * HEAD_DIM, scale=0.3),
}  # fmt: skip
"""With two queries to a key: attention is compiled for each number of them, and other quick tests have these."""
TYPES = ["float32", "float16", "int8", "int4"]
EACH_TYPE = ["float32", "float16", pytest.param("int8", marks=pytest.mark.slow)]
"""Where attention is compiled for each."""


def parts(layout: Layout, reach: Reach = Reach()) -> dict[str, CachePart]:  # noqa: B008  (it is frozen)
    places = {"keys": (layout.keys, layout.key_dim), "values": (layout.values, layout.value_dim)}
    return {
        name: CachePart(name == "keys", layout.kv_heads, dim, layout.kind, place, 0, reach)
        for name, (place, dim) in places.items()
    }


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("heads", "key_dim", "value_dim"), [(1, 16, 16), (3, 34, 18), (2, 6, 64)])
def test_rows_have_the_bytes_that_the_kernel_writes(dtype: str, heads: int, key_dim: int, value_dim: int) -> None:
    layout, start, count = Layout(dtype, heads, key_dim, value_dim), 61, 70  # over the ends of two blocks
    rows = {"keys": normal(1, count, heads, key_dim), "values": normal(2, count, heads, value_dim)}
    for each in rows.values():
        each[3, 0], each[4, 0, 0], each[5, -1, 1], each[6] = 0, np.inf, 7e4, 1e-31
    by_kernel, by_numpy = layout.new_blocks(3), layout.new_blocks(3)

    positions = np.arange(start, start + count, dtype=np.int32)
    slots = by_kernel.ctypes.data + positions.astype(np.int64) // POSITIONS * by_kernel.strides[0]
    key, value = (Rows(each.reshape(count, -1)) for each in rows.values())
    run(store_kernel(layout.kind), count, key.address, key.stride, value.address, value.stride, heads, key_dim,
        value_dim, layout.keys, layout.values, key.address, key.stride, heads, 0, 0, 0, 0, 0, 0,
        fields={STEP_POSITIONS: positions.ctypes.data, STEP_SLOTS: slots.ctypes.data})  # fmt: skip

    table = by_numpy.ctypes.data + np.arange(3) * by_numpy.strides[0]
    kept = {name: HostCache(part, table, start).append(rows[name]) for name, part in parts(layout).items()}
    np.testing.assert_array_equal(by_numpy, by_kernel)

    for name, got in kept.items():
        assert got.shape == (start + count, *rows[name].shape[1:])
        for at in (0, 2, 7, count - 1):
            block, inside = divmod(start + at, POSITIONS)
            for head in range(heads):
                scale: Any = layout.scale(by_kernel[block], name, head, inside) if dtype == "int8" else 1
                if layout.is_int4:
                    scale = np.repeat(layout.group_scales(by_kernel[block], name, head, inside), 32)
                expected = np.float32(layout.read(by_kernel[block], name, head, inside)) * np.float32(scale)
                if layout.spreads(name):
                    matrix = hadamard_matrix(len(expected))
                    exact = (expected.astype(np.float64) @ matrix / matrix[0].sum())[: got.shape[-1]]
                    np.testing.assert_allclose(got[start + at, head], exact, rtol=0, atol=1e-6 * abs(expected).max())
                    continue
                np.testing.assert_array_equal(got[start + at, head], expected)


def test_what_no_token_sees_is_zero_and_its_blocks_may_be_gone() -> None:
    layout = Layout("float32", 1, 16, 16)
    blocks = layout.new_blocks(3)
    table = blocks.ctypes.data + np.arange(3) * blocks.strides[0]
    keys, rows = parts(layout)["keys"], normal(3, 150, 1, 16)
    HostCache(keys, table, 0).append(rows[:130])
    table[0] = 0
    got = HostCache(parts(layout, Reach(window=40))["keys"], table, 130).append(rows[130:])
    assert not got[:91].any()
    np.testing.assert_array_equal(got[91:], rows[91:])


class Attend(Operator):
    """FusedAttention's definition, in NumPy alone, with a window."""

    parameters = (
        Parameter("q", Kind.INPUT),
        Parameter("k", Kind.CACHE, holds="curk"),
        Parameter("v", Kind.CACHE, holds="curv"),
        Parameter("curk", Kind.INPUT, may_be_none=True),
        Parameter("curv", Kind.INPUT, may_be_none=True),
        Parameter("output", Kind.OUTPUT),
        Parameter("window", Kind.INT, default=0),
    )

    @classmethod
    def reach(cls, attributes: Any) -> Reach:
        return Reach(window=int(attributes["window"]))

    @staticmethod
    def infer(q: TensorType, k: TensorType, v: TensorType, curk: Any, curv: Any, window: int) -> TensorType:
        return q.with_shape(*q.shape[:2], q.size(2) * v.size(2))

    @staticmethod
    def reference(
        step: StepContext, q: Array, k: list[SequenceCache], v: list[SequenceCache], curk: Any, curv: Any, window: int
    ) -> Array:
        outputs = []
        for sequence, rows in enumerate(step.rows):
            keys, values = (
                cache[sequence].read() if new is None else cache[sequence].append(new[0, rows])
                for cache, new in ((k, curk), (v, curv))
            )
            count = rows.stop - rows.start
            visible = visible_keys(len(keys) - count, count, window)
            outputs.append(attend(q[0, rows], keys, values, HEAD_DIM**-0.5, visible))
        return np.concatenate(outputs)[None]


def layer(self: ComputeGraph, number: int, window: int) -> None:
    """`Attend` on cache `number`, and once more on what that stored."""
    data = self.data
    for name in "qkv":
        project(self, name)
    caches = data["pastKey."][number], data["pastValue."][number]
    self.Attend(data["q"], *caches, data["k"], data["v"], data["y"], window)
    self.Linear(data["y"], self.weight["o.weight"], self.weight["o.bias"], data["z"])
    self.AddTo(data["x"], data["z"])
    project(self, "q")
    self.Attend(data["q"], *caches, None, None, data["y"], window)
    self.Linear(data["y"], self.weight["o.weight"], self.weight["o.bias"], data["z"])
    self.AddTo(data["x"], data["z"])


def attending(window: int) -> Build:
    def build(self: ComputeGraph) -> None:
        begin(self)
        layer(self, 0, window)
        layer(self, 1, 0)
        for name in "qkv":
            project(self, name)
        attend_fused(self, k=self.data["pastKey."][2], v=self.data["pastValue."][2])
        self.Linear(self.data["y"], self.weight["o.weight"], self.weight["o.bias"], self.data["z"])
        self.AddTo(self.data["x"], self.data["z"])
        end(self)

    return build


LONG = [[(0, 0, 100), (1, 0, 3)], [(1, 3, 4), (0, 100, 101)], [(0, 101, 230), (1, 4, 90)], [(0, 230, 231), (1, 90, 91)]]
"""Several blocks of a sequence, in chunks and token by token, in company."""


@pytest.mark.parametrize("kv_cache_dtype", EACH_TYPE)
@pytest.mark.parametrize("window", [0, 50])
def test_an_operator_of_numpy_alone_at_a_cache(window: int, kv_cache_dtype: str) -> None:
    config, within = {"vocab_size": 50}, {"float32": 2e-5, "float16": 2e-3, "int8": 2e-2}[kv_cache_dtype]
    for steps in (STEPS, LONG):
        assert_alike(attending(window), PAIRS, config, (Attend,), steps, kv_cache_dtype, within)


class Mean(Operator):
    """Each token's mean of what is cached up to it, of one cache."""

    parameters = (
        Parameter("input", Kind.INPUT), Parameter("k", Kind.CACHE, holds="input"), Parameter("output", Kind.OUTPUT)
    )  # fmt: skip

    @staticmethod
    def infer(input: TensorType, k: TensorType) -> TensorType:
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, k: list[SequenceCache]) -> Array:
        outputs = []
        for cache, rows in zip(k, step.rows, strict=True):
            kept = cache.append(input[0, rows])
            sums, counts = kept.cumsum(axis=0), np.arange(1, 1 + len(kept), dtype=np.float32)
            outputs.append((sums / counts[:, None, None])[len(kept) - (rows.stop - rows.start) :])
        return np.concatenate(outputs)[None]


def averaging(self: ComputeGraph) -> None:
    begin(self)
    project(self, "k")
    self.Mean(self.data["k"], self.data["pastKey."][0], self.data["k"])
    self.Flatten(self.data["k"])
    self.Cat(self.data["k"], self.data["x"], -1, self.data["x"])
    self.Split(self.data["x"], -1, 0, HIDDEN, self.data["x"])
    end(self)


@pytest.mark.parametrize("kv_cache_dtype", ["float32", "float16", "int8"])
def test_an_operator_with_one_cache(kv_cache_dtype: str) -> None:
    within = {"float32": 2e-5, "float16": 2e-3, "int8": 2e-2}[kv_cache_dtype]
    assert_alike(averaging, ARRAYS, {"vocab_size": 50}, (Mean,), LONG, kv_cache_dtype, within)


class Refusing(Attend):
    """Raises when it is told to; what it stored by then counts for nothing."""

    fails = False

    @staticmethod
    def reference(step: StepContext, **given: Any) -> Array:  # type: ignore[override]
        output = Attend.reference(step, **given)
        if Refusing.fails:
            raise ValueError("told to")
        return output


def refusing(self: ComputeGraph) -> None:
    begin(self)
    for name in "qkv":
        project(self, name)
    caches = self.data["pastKey."][0], self.data["pastValue."][0]
    self.Refusing(self.data["q"], *caches, self.data["k"], self.data["v"], self.data["y"])
    self.Linear(self.data["y"], self.weight["o.weight"], self.weight["o.bias"], self.data["x"])
    end(self)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_that_failed_or_was_stopped_leaves_the_sequence_as_before(
    kind: type[Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = MemoryCheckpoint({"max_positions": 256}, ARRAYS)
    with opened(kind, checked_graph(refusing, checkpoint, (Refusing,)), checkpoint) as executor:
        expected = executor.run([SequenceStep(executor.cache.new_sequence(), IDS[:90])]).copy()
        sequence = executor.cache.new_sequence()
        executor.run([SequenceStep(sequence, IDS[:60])])
        monkeypatch.setattr(Refusing, "fails", True)
        with pytest.raises(GraphError, match=r"raised ValueError in line \d+ \(raise ValueError.*: told to\.$"):
            executor.run([SequenceStep(sequence, IDS[100:130])])
        monkeypatch.setattr(Refusing, "fails", False)
        executor.request_stop()
        with pytest.raises(StepStopped):
            executor.run([SequenceStep(sequence, IDS[130:140])])
        executor.clear_stop()
        assert sequence.length == 60
        np.testing.assert_allclose(executor.run([SequenceStep(sequence, IDS[60:90])]), expected, rtol=0, atol=1e-5)


def misusing(how: str) -> type[Operator]:
    """An `Attend` that treats its caches as `how` says."""

    class Misusing(Attend):
        @staticmethod
        def reference(step: StepContext, k: Any, v: Any, curk: Array, curv: Array, **given: Any) -> Array:  # type: ignore[override]
            if how != "forgets":
                keys = k[0].append(curk[0, :, :, :-1] if how == "narrow" else curk[0, 1:] if how == "few" else curk[0])
                v[0].append(curv[0])
            if how == "twice":
                v[0].append(curv[0])
            if how == "writes":
                keys *= 2
            return given["q"].reshape(1, len(curk[0]), -1) / (0 if how == "divides" else 1)

    return Misusing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("narrow", r"in line \d+ \(keys = .*: it appends \[3, 2, 3\] to the cache k, which takes \[3, 2, 4\] here"),
        ("few", r"it appends \[2, 2, 4\] to the cache k, which takes \[3, 2, 4\] here, the sequence's rows of curk"),
        ("twice", "it appends to the cache v twice in a step"),
        ("forgets", "it appended nothing to the cache k of one sequence"),
        ("writes", r"in line \d+ \(keys \*= 2\): what it is given is read-only; change a copy"),
        ("divides", r"raised FloatingPointError in line \d+ \(return .*: divide by zero encountered in divide; where"),
    ],
)
def test_misuse_is_a_sentence(kind: type[Executor], how: str, says: str) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for name in "qkv":
            project(self, name)
        caches = self.data["pastKey."][0], self.data["pastValue."][0]
        self.Misusing(self.data["q"], *caches, self.data["k"], self.data["v"], self.data["y"])
        self.Linear(self.data["y"], self.weight["o.weight"], self.weight["o.bias"], self.data["x"])
        end(self)

    checkpoint = MemoryCheckpoint({"max_positions": 256}, ARRAYS)
    with opened(kind, checked_graph(build, checkpoint, (misusing(how),)), checkpoint) as executor:
        with pytest.raises(GraphError, match=says) as raised:
            executor.run([SequenceStep(executor.cache.new_sequence(), IDS[:3])])
        assert str(raised.value).startswith(__file__) and str(raised.value).endswith(".")


def test_rows_without_heads_are_refused() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        caches = self.data["pastKey."][0], self.data["pastValue."][0]
        self.Loose(self.data["x"], *caches, self.data["x"], self.data["x"], self.data["y"])
        end(self, "y")

    class Loose(Attend):
        @staticmethod
        def infer(q: TensorType, **given: Any) -> TensorType:  # type: ignore[override]
            return q

    with pytest.raises(GraphError, match=r'stores curk, data "x" \[1, tokens, 24\] float32, in the cache k, which'):
        checked_graph(build, MemoryCheckpoint({"max_positions": 64}, ARRAYS), (Loose,))




def test_a_session_goes_on_after_an_operator_raised_in_a_later_step(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, settings = MemoryCheckpoint({"max_positions": 256}, ARRAYS), SamplingSettings(max_tokens=5)
    with opened(CompiledExecutor, checked_graph(refusing, checkpoint, (Refusing,)), checkpoint) as executor:
        engine = EngineThread(executor)
        session, prompt = Session(engine), IDS[:70].tolist()
        expected = list(session.generate(prompt, settings))
        answer = session.generate([*prompt, *expected], SamplingSettings(max_tokens=150))
        next(answer)
        monkeypatch.setattr(Refusing, "fails", True)
        with pytest.raises(GraphError, match="told to"):
            list(answer)
        monkeypatch.setattr(Refusing, "fails", False)
        assert list(session.generate(prompt, settings)) == expected
        engine.close()

"""Graphs of unusual shape, and operators of users: both engines agree, or one sentence says what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.reference_executor import ReferenceExecutor
from ftllm_nb.errors import ContextLengthError, EngineError, FtllmError, GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from tests.engine.two_engines import IDS, KINDS, VOCAB, assert_alike, checked_graph, opened
from tests.graph.random_graphs import Flatten
from tests.graph.small_graphs import Build
from tests.memory_checkpoint import MemoryCheckpoint, normal

HIDDEN = 12


def tensors(hidden: int = HIDDEN, **more: Any) -> dict[str, Any]:
    """An embedding and an output matrix, and more."""
    output = normal(2, VOCAB, hidden, scale=hidden**-0.5)
    return {"embed.weight": normal(1, VOCAB, hidden), "head.weight": output, **more}


def begin(graph: ComputeGraph) -> None:
    graph.Embedding(graph.data["inputIds"], graph.weight["embed.weight"], graph.data["x"])


def end(graph: ComputeGraph, name: str = "x") -> None:
    graph.SplitLastTokenStates(graph.data[name], graph.data["seqLens"], graph.data["last"])
    graph.Linear(graph.data["last"], graph.weight["head.weight"], None, graph.data["logits"])


@pytest.mark.parametrize("hidden", [1, 2, 3, 15, 16, 17, 100])
def test_no_layers(hidden: int) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        end(self)

    assert_alike(build, tensors(hidden))


def test_data_that_has_no_row_for_each_token() -> None:
    """What is made of a weight alone, and two batches in one: computed between two walks."""

    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        begin(self)
        self.Mul(weight["scale"], 3.0, data["scale"])
        self.Add(data["scale"], 1.0, data["scale"])
        self.MulTo(data["x"], data["scale"])
        self.Silu(data["x"], data["y"])
        self.Cat(data["x"], data["y"], 0, data["both"])
        self.Linear(data["both"], weight["mix"], None, data["both"])
        self.RMSNorm(data["both"], weight["scale"], 1e-5, data["both"])
        self.Split(data["both"], 0, 1, 2, data["y"])
        self.AddTo(data["x"], data["y"])
        end(self)

    matrix = normal(4, HIDDEN, HIDDEN, scale=HIDDEN**-0.5)
    assert_alike(build, tensors(scale=1 + normal(3, HIDDEN, scale=0.1), mix=matrix))


MANY_QUERIES = (97, 1, 4, 4, 4, 0)
"""To one key."""
SHAPES = [
    # heads, kv heads, key dim, value dim, rotary dim (0: none), maskType
    (1, 1, 1, 1, 0, 0), (1, 1, 2, 2, 2, 0), (2, 1, 3, 5, 0, 0), (2, 2, 96, 96, 96, 0), (2, 1, 256, 256, 64, 0),
    (6, 2, 6, 10, 6, 0), (4, 2, 7, 33, 0, 0), (9, 3, 8, 1, 4, 0), MANY_QUERIES, (1, 1, 513, 3, 0, 0),
    (4, 2, 8, 8, 8, 2), (6, 2, 7, 33, 0, 0),
]  # fmt: skip
TELLING = [(2, 1, 3, 5, 0, 0), (2, 1, 256, 256, 64, 0), (4, 2, 7, 33, 0, 0), (4, 2, 8, 8, 8, 2)]


def is_quick(shape: tuple[int, ...], dtype: str) -> bool:
    """Attention is compiled for each number of queries to a key, and each type of the cache: for 1, 2 and 3 of float32,
    and 2 of float16, elsewhere."""
    queries = shape[0] // shape[1]
    return (dtype == "float32" and queries in (1, 3)) or (dtype != "int8" and queries == 2 and shape in TELLING)


HEADS = [
    pytest.param(shape, dtype, marks=[] if is_quick(shape, dtype) else [pytest.mark.slow])
    for dtype in ("float32", "float16", "int8")
    for shape in SHAPES
    if shape != MANY_QUERIES or dtype == "float16"
]


@pytest.mark.parametrize("shape, kv_cache_dtype", HEADS, ids=str)
def test_heads_of_any_number_and_size(shape: tuple[int, ...], kv_cache_dtype: str) -> None:
    """Over several cache blocks, beside another sequence."""
    heads, kv_heads, dim, value_dim, rotary, mask_type = shape

    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        begin(self)
        for name, size in (("q", dim), ("k", dim), ("v", value_dim)):
            self.Linear(data["x"], weight[name], None, data[name])
            self.ExpandHead(data[name], size)
        for name in ("q", "k") if rotary else ():
            self.LlamaRotatePosition2D(data[name], data["positionIds"], data["sin"], data["cos"], rotary)
        self.FusedAttention(
            data["q"], data["pastKey."][3], data["pastValue."][3], data["k"], data["v"], data["x"],
            data["attentionMask"], data["y"], data["seqLens"], 0.3, mask_type,
        )  # fmt: skip
        self.Linear(data["y"], weight["o"], None, data["y"])
        self.AddTo(data["x"], data["y"])
        end(self)

    sizes = {"q": heads * dim, "k": kv_heads * dim, "v": kv_heads * value_dim}
    projections = {name: normal(size, size, HIDDEN, scale=0.3) for name, size in sizes.items()}
    output = normal(6, HIDDEN, heads * value_dim, scale=(heads * value_dim) ** -0.5)
    long = [[(0, 0, 70), (1, 70, 71)], [(0, 71, 72), (1, 72, 140)], [(0, 1, 2), (1, 3, 4)], [(0, 0, 130), (1, 3, 5)]]
    # A number between two steps of the cache's type may be rounded to either.
    within = {"float32": 2e-5, "float16": 2e-4, "int8": 5e-3}[kv_cache_dtype]
    arrays = tensors(o=output, **projections)
    assert_alike(build, arrays, {"head_dim": max(2, dim)}, (), long, kv_cache_dtype, within)


def test_parts_are_put_together_without_the_host() -> None:
    """Along the features and along the heads, of tokens and of last tokens; sums and products with constants."""

    def build(self: ComputeGraph) -> None:
        data = self.data
        begin(self)
        self.Split(data["x"], -1, 8, HIDDEN, data["a"])
        self.Cat(data["a"], data["x"], 2, data["x"])
        self.ExpandHead(data["x"], 4)
        self.Repeat(data["x"], 2, 3, data["x"])
        self.Split(data["x"], 2, 3, 9, data["y"])
        self.Repeat(data["y"], -1, 2, data["y"])
        self.Cat(data["y"], data["y"], -2, data["y"])
        self.Mul(data["y"], 0.5, data["y"])
        self.SplitLastTokenStates(data["y"], data["seqLens"], data["y"])
        self.Add(data["y"], -1.5, data["y"])
        self.Split(data["y"], 2, 5, 6, data["y"])
        self.Repeat(data["y"], 0, 1, data["y"])
        self.Flatten(data["y"], data["y"])
        self.Linear(data["y"], self.weight["wide.weight"], None, data["logits"])

    arrays = tensors(**{"wide.weight": normal(4, VOCAB, 8)})
    assert_alike(build, arrays, operators=(Flatten,))
    checkpoint = MemoryCheckpoint({"max_positions": 64}, arrays)
    with opened(CompiledExecutor, checked_graph(build, checkpoint, (Flatten,)), checkpoint) as executor:
        segments = executor._program.segments  # type: ignore[attr-defined]
        assert [isinstance(segment, np.ndarray) for segment in segments] == [True, False, True]


@pytest.mark.parametrize("activation", ["gelu", "gelu_pytorch_tanh"])
def test_gelu(activation: str) -> None:
    """In place; the two forms differ by more than the engines may."""

    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Gelu(self.data["x"], self.data["x"])
        end(self)

    assert_alike(build, tensors(), {"hidden_act": activation})


def positions(self: ComputeGraph) -> None:
    begin(self)
    self.Embedding(self.data["positionIds"], self.weight["positions.weight"], self.data["p"])
    self.AddTo(self.data["x"], self.data["p"])
    end(self)


@pytest.mark.parametrize("rows", [9, 64])
def test_learned_positions(rows: int) -> None:
    """A table of other sizes than the tokens', and no embedding in whose place the output matrix could be missing."""
    assert_alike(positions, tensors(**{"positions.weight": normal(9, rows, HIDDEN)}), {"hidden_size": HIDDEN})


@pytest.mark.parametrize("kind", KINDS)
def test_the_context_ends_where_learned_positions_do(kind: type[Executor]) -> None:
    checkpoint = MemoryCheckpoint({"max_positions": 64}, tensors(**{"positions.weight": normal(9, 9, HIDDEN)}))
    with opened(kind, checked_graph(positions, checkpoint), checkpoint) as executor:
        assert executor.max_positions == 9
        sequence = executor.cache.new_sequence()
        executor.run([SequenceStep(sequence, IDS[:9])])
        with pytest.raises(ContextLengthError):
            executor.run([SequenceStep(sequence, IDS[:1])])


def test_one_weight_for_everything() -> None:
    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight
        begin(self)
        self.Linear(data["x"], weight["w"], weight["b"], data["a"])
        self.Linear(data["x"], weight["w"], None, data["c"])
        self.Linear(data["a"], weight["w"], weight["b"], data["a"])
        self.AddTo(data["a"], data["c"], -0.5)
        self.AddTo(data["a"], data["a"])
        self.SplitLastTokenStates(data["a"], data["seqLens"], data["a"])
        self.Linear(data["a"], weight["embed.weight"], None, data["logits"])

    assert_alike(build, tensors(w=normal(7, HIDDEN, HIDDEN, scale=0.3), b=normal(8, HIDDEN)))


@pytest.mark.parametrize("kind", KINDS)
def test_many_sequences_of_one_token(kind: type[Executor]) -> None:
    """As many as a step holds, each as if it were alone."""

    def build(self: ComputeGraph) -> None:
        begin(self)
        end(self)

    checkpoint = MemoryCheckpoint({"max_positions": 8}, tensors())
    with opened(kind, checked_graph(build, checkpoint), checkpoint) as executor:
        ids = np.arange(executor.max_step_tokens) % VOCAB
        new_sequence = executor.cache.new_sequence
        steps = [SequenceStep(new_sequence(), ids[at : at + 1].astype(np.int32)) for at in range(len(ids))]
        together = executor.run(steps).copy()
        alone = [
            executor.run([SequenceStep(new_sequence(), np.int32([token]))])[0].copy() for token in range(VOCAB)
        ]
        assert together.shape == (len(ids), VOCAB)
        np.testing.assert_allclose(together[:VOCAB], alone, atol=1e-6)
        # NumPy's products of many rows may differ in the last bit between the first rows and the last, on some CPUs.
        np.testing.assert_allclose(together, together[ids], rtol=0, atol=1e-6 if kind is ReferenceExecutor else 0)
        with pytest.raises(EngineError, match="at most"):
            executor.run([*steps, SequenceStep(executor.cache.new_sequence(), np.int32([0]))])


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_can_be_printed_though_nothing_is_rotated(
    kind: type[Executor], capsys: pytest.CaptureFixture[str]
) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Print(self.data["sin"])
        end(self)

    checkpoint = MemoryCheckpoint({"max_positions": 3, "head_dim": 4}, tensors())
    with opened(kind, checked_graph(build, checkpoint), checkpoint) as executor:
        executor.run([SequenceStep(executor.cache.new_sequence(), IDS[:2])])
    printed = capsys.readouterr().out
    assert printed.startswith("sin [3, 2] float32") and "0.841471" in printed


class Widen(Operator):
    """Changes its data in place to many more features."""

    parameters = (Parameter("input", Kind.INPLACE),)

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return input.with_shape(*input.shape[:-1], input.size(-1) * 40)

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return np.repeat(input, 40, -1)


def test_what_grows_in_place_gets_room() -> None:
    """For all tokens of a step, beside what lies next to it."""

    def build(self: ComputeGraph) -> None:
        data = self.data
        begin(self)
        self.Silu(data["x"], data["y"])
        self.Silu(data["y"], data["z"])
        self.Widen(data["x"])
        self.Split(data["x"], 2, 100, 100 + HIDDEN, data["x"])
        self.AddTo(data["x"], data["y"])
        self.AddTo(data["x"], data["z"])
        end(self)

    assert_alike(build, tensors(), {"max_positions": 512}, (Widen,), [[(0, 0, 400)], [(0, 3, 100)]])


class Greedy(Operator):
    """Writes its inputs, which belong to others."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return input

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        input *= 2
        return input


class Caching(Operator):
    """Takes caches, and has no kernel."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("k", Kind.CACHE, holds="input"),
        Parameter("v", Kind.CACHE, holds="input"),
    )

    @staticmethod
    def infer(input: TensorType, k: TensorType, v: TensorType) -> None:
        return None

    @staticmethod
    def reference(step: StepContext, input: Array, k: list[Any], v: list[Any]) -> None:
        for keys, values in zip(k, v, strict=True):
            keys.append(input[0])
            values.append(input[0])


def greedy(self: ComputeGraph) -> None:
    begin(self)
    self.Greedy(self.data["x"], self.data["y"])
    end(self)


def caching(self: ComputeGraph) -> None:
    begin(self)
    self.ExpandHead(self.data["x"], 4)
    self.Caching(self.data["x"], self.data["pastKey."][0], self.data["pastValue."][0])
    begin(self)
    end(self)


@pytest.mark.parametrize(
    ("kind", "build", "expected"),
    [
        (CompiledExecutor, greedy, "read-only"),
        (ReferenceExecutor, greedy, "read-only"),
        (CompiledExecutor, caching, None),
        (ReferenceExecutor, caching, None),
    ],
)
def test_operators_of_users_that_go_too_far(kind: type[Executor], build: Build, expected: str | None) -> None:
    checkpoint = MemoryCheckpoint({"max_positions": 64}, tensors())

    def run() -> None:
        graph = checked_graph(build, checkpoint, (Greedy, Caching))
        with opened(kind, graph, checkpoint) as executor:
            executor.run([SequenceStep(executor.cache.new_sequence(), IDS[:3])])

    if expected is None:
        run()
        return
    with pytest.raises(GraphError, match=expected):
        run()


def repeated(times: int) -> Build:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Repeat(self.data["x"], 2, times, self.data["y"])
        self.Split(self.data["y"], 2, 0, HIDDEN, self.data["x"])
        end(self)

    return build


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [2**33, 2**62, 2**70])
def test_tensors_beyond_any_memory(kind: type[Executor], times: int) -> None:
    checkpoint = MemoryCheckpoint({"max_positions": 64}, tensors())
    with pytest.raises(FtllmError, match="which is larger than any memory"), opened(
        kind, checked_graph(repeated(times), checkpoint), checkpoint
    ):
        pass


def test_activations_beyond_this_memory() -> None:
    checkpoint = MemoryCheckpoint({"max_positions": 64}, tensors())
    graph = checked_graph(repeated(2**27), checkpoint)
    with pytest.raises(EngineError, match="no memory for activations"), opened(CompiledExecutor, graph, checkpoint):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_tables_beyond_any_memory(kind: type[Executor]) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Print(self.data["sin"])
        end(self)

    for head_dim in (1024, 10**15):
        checkpoint = MemoryCheckpoint({"max_positions": 2**31 - 1, "head_dim": head_dim}, tensors())
        graph = checked_graph(build, checkpoint)
        with pytest.raises(FtllmError, match="sin and cos of 2147483647 positions"), opened(kind, graph, checkpoint):
            pass

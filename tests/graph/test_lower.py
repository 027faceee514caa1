"""From a graph to a program: segments and labels, memory for weights and vectors, what the engine has to know."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from ftllm_nb.engine.cache_groups import plan_cache
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.fuse import fuse
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.lower import lower
from ftllm_nb.graph.program import Program
from ftllm_nb.graph.types import Symbol, TensorType
from ftllm_nb.kernels.compile import prepare
from ftllm_nb.kernels.elementwise import rms_norm, silu
from ftllm_nb.kernels.peaks import peaks as find_peaks
from ftllm_nb.kernels.step import ROW_ARGUMENTS, ROW_CHUNK_BYTES, ROW_NEXT, STEP_ROWS, STEP_TOKENS
from ftllm_nb.kernels.tiling import LINEAR_BLOCK_STRIDE, LINEAR_WEIGHT, PANEL_BLOCKS
from ftllm_nb.ops.lowering import Lowering
from ftllm_nb.quant.base import WeightFormat, weight_format
from tests.graph.small_graphs import (
    CONFIG,
    HIDDEN,
    TENSORS,
    VOCAB,
    Build,
    attend,
    begin,
    check,
    end,
    graph_class,
    project,
)
from tests.graph.test_operators import Square

MAX_TOKENS = 8
TIED = {**CONFIG, "tie_word_embeddings": True}


def as_float32(weight: Value) -> WeightFormat:
    return weight_format("float32")


def lowered(build: Build, config: dict[str, object] = CONFIG, tensors: dict[str, object] = TENSORS) -> Program:
    return lowered_graph(check(build, config, tensors))  # type: ignore[arg-type]


def lowered_graph(checked: CheckedGraph) -> Program:
    graph = fuse(checked, as_float32)
    layout = plan_cache(graph.caches, "float32")
    places = {cache.key: layout.places[layer] for layer, cache in graph.caches.items()}
    return lower(graph, as_float32, places, MAX_TOKENS)


def tables(program: Program) -> list[np.ndarray]:
    return [segment for segment in program.segments if isinstance(segment, np.ndarray)]


def kernels(program: Program) -> list[str]:
    return [program.kernels[row[0]].name.split(".")[-1] for table in tables(program) for row in table]


def printing(self: ComputeGraph) -> None:
    begin(self)
    self.Print(self.data["x"])
    self.Silu(self.data["x"], self.data["y"])
    self.RMSNorm(self.data["y"], self.weight["norm.weight"], 1e-5, self.data["y"])
    self.Print(self.data["y"])
    self.Print(self.weight["norm.weight"])
    end(self, "y")


def test_host_steps_cut_the_program() -> None:
    program = lowered(printing)
    kinds = [len(segment) if isinstance(segment, np.ndarray) else segment.operator.name for segment in program.segments]
    assert kinds == [1, "Print", 2, "Print", "Print", 3]
    assert [len(labels) for labels in program.labels] == [1, 0, 2, 0, 0, 3]
    assert [label.operator for labels in program.labels for label in labels] == [
        "Embedding", "Silu", "RMSNorm", "SplitLastTokenStates", "Linear", "Peaks",
    ]  # fmt: skip


def test_a_graph_that_ends_on_the_host() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        end(self)
        self.Square(self.data["logits"], self.data["logits"])

    model = type("Model", (graph_class(build),), {"operators": (Square,)})
    program = lowered_graph(check_graph(build_graph(model, CONFIG), TENSORS))
    assert isinstance(program.segments[1], Node) and len(program.segments) == 3
    assert [label.operator for label in program.labels[2]] == ["Peaks"]
    written = program.segments[1].outputs["output"]
    assert written in program.places, "the engine reads the logits there"


def test_rows_hold_what_kernels_need() -> None:
    program = lowered(printing)
    norm = next(row for table in tables(program) for row in table if program.kernels[row[0]] is rms_norm)
    read, read_stride, write, write_stride, weight, size, groups, eps, count = norm[1:10]
    assert (size, groups, count) == (HIDDEN, 1, STEP_TOKENS)
    assert np.int32(eps).view(np.float32) == np.float32(1e-5)
    assert read_stride == write_stride == 4 * 48, "24 features, padded to an odd number of vectors"
    arena = program.arena.ctypes.data
    for address in (read, write):
        assert arena <= address and address + MAX_TOKENS * read_stride <= arena + len(program.arena)
    (vector,) = program.vectors
    assert vector.target.ctypes.data == weight and vector.target.shape == (HIDDEN,)
    head, peaks = tables(program)[-1][-2:]
    assert program.labels[-1][-2].operator == "Linear" and head[10] == STEP_ROWS
    assert program.kernels[peaks[0]] is find_peaks and peaks[5] == STEP_ROWS


def test_link_writes_the_kernels_addresses() -> None:
    program = lowered(printing)
    prepare(program.kernels)
    before = [table[:, 1:].copy() for table in tables(program)]
    names = kernels(program)
    program.link()
    assert "silu" in names and silu.address in [row[0] for table in tables(program) for row in table]
    assert all(np.array_equal(table[:, 1:], rest) for table, rest in zip(tables(program), before, strict=True))


def test_weights_lie_in_memory_of_their_own() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for name in ("q", "k", "v"):
            self.Linear(self.data["x"], self.weight[name][".weight"], self.weight[name][".bias"], self.data[name])
        end(self)

    program = lowered(build)
    spans = sorted(
        (part.address, part.address + part.format.packed_bytes(*part.weight.type.shape)) for part in program.weights
    )
    assert len(spans) == 5 and all(address % 64 == 0 for address, _ in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    names = [part.weight.name for part in program.weights]
    group = names.index("q.weight")
    assert names[group : group + 3] == ["q.weight", "k.weight", "v.weight"], "packed one after the other"
    (biases,) = (vector for vector in program.vectors if vector.weight.name == "v.bias")
    linear = next(row for table in tables(program) for row in table if program.kernels[row[0]].name.count("linear"))
    assert biases.target.ctypes.data == linear[7] + 4 * (32 + 16), "behind the padded zeros of q and k"


def test_tied_embeddings_are_stored_once() -> None:
    tensors = {name: header for name, header in TENSORS.items() if name != "head.weight"}
    program = lowered(lambda self: (begin(self), end(self))[0], TIED, tensors)  # type: ignore[func-returns-value]
    assert [part.weight.name for part in program.weights] == ["embed.weight"]
    assert sum(memory.nbytes for memory in program.memory) < program.arena.nbytes + 2 * 4 * VOCAB * 32


def test_a_weight_that_two_operators_read_is_stored_once() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for _ in range(3):
            self.Linear(self.data["x"], self.weight["o.weight"], None, self.data["x"])
            self.RMSNorm(self.data["x"], self.weight["norm.weight"], 1e-5, self.data["x"])
        end(self)

    program = lowered(build)
    assert [part.weight.name for part in program.weights] == ["embed.weight", "o.weight", "head.weight"]
    assert [part.weight.name for part in program.vectors] == ["norm.weight"]


def attending(self: ComputeGraph) -> None:
    begin(self)
    for name in ("q", "k", "v"):
        project(self, name)
    attend(self)
    self.Linear(self.data["y"], self.weight["o.weight"], None, self.data["x"])
    end(self)


def test_what_the_engine_has_to_know() -> None:
    program = lowered(attending)
    assert program.needs.tile_tokens < 1 << 30 and program.needs.partial_floats > 0
    assert program.needs.id_rows == {"inputIds": VOCAB}
    assert program.tables == {}, "nothing is rotated"
    layers = {label.operator: label.layer for labels in program.labels for label in labels}
    assert layers["FusedAttention"] == 0 and layers["Embedding"] is None


def cat_of_batches(self: ComputeGraph) -> None:
    begin(self)
    self.Cat(self.data["x"], self.data["x"], 0, self.data["y"])
    end(self)


def own_tables(self: ComputeGraph) -> None:
    data = self.data
    begin(self)
    project(self, "q")
    self.Split(data["sin"], 1, 0, 2, data["s"])
    self.LlamaRotatePosition2D(data["q"], data["positionIds"], data["s"], data["cos"], 2)
    end(self)


def product_of_a_weight(self: ComputeGraph) -> None:
    begin(self)
    self.Mul(self.weight["norm.weight"], 2.0, self.data["w"])
    end(self)


@pytest.mark.parametrize("build", [cat_of_batches, own_tables, product_of_a_weight])
def test_data_of_no_token_is_the_hosts(build: Callable[[ComputeGraph], None]) -> None:
    """Kernels take rows of tokens; all else is computed by references."""
    segments = lowered(build).segments
    names = {cat_of_batches: ["Cat"], own_tables: ["Split", "LlamaRotatePosition2D"], product_of_a_weight: ["Mul"]}
    assert [each.operator.name for each in segments if isinstance(each, Node)] == names[build]


def test_the_place_of_what_no_operator_writes() -> None:
    node = check(printing).nodes[2]

    class Own(node.operator):  # type: ignore[name-defined,misc]
        @classmethod
        def lower(cls, node: Node, lowering: Lowering) -> None:
            lowering.place(Value("inputIds", TensorType((1, Symbol.TOKENS), "int32"), "input"))

    graph = check(printing)
    graph.nodes[2] = Node(Own, node.inputs, node.outputs, node.attributes, node.call)
    with pytest.raises(GraphError, match=r"test_lower\.py:\d+: .*asks where \"inputIds\" \[1, tokens\]") as raised:
        lower(graph, as_float32, {}, MAX_TOKENS)
    assert str(raised.value).endswith("sin and cos by rope_table().")


def test_rows_say_what_is_read_next_and_how_long_their_chunks_take() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for name in "qk":
            project(self, name)
            self.Silu(self.data[name], self.data[name])
        end(self)

    program = lowered(build)
    (rows,) = tables(program)
    labels = program.labels[0]
    products = [number for number, label in enumerate(labels) if label.is_product]
    assert len(products) == 2, "q and k are one, and the logits"
    for number, row in enumerate(rows):
        later = next((each for each in products if each > number), products[0])  # after the last: the next step's first
        weight, block_bytes, blocks = rows[later][1 + LINEAR_WEIGHT :][:3]
        assert tuple(row[ROW_NEXT:]) == (weight, PANEL_BLOCKS * block_bytes, -(-blocks // PANEL_BLOCKS)), labels[number]
        if number in products:
            assert row[ROW_CHUNK_BYTES] == PANEL_BLOCKS * row[1 + LINEAR_BLOCK_STRIDE]
    assert {rows[each][1 + LINEAR_WEIGHT] for each in products} == set(rows[:, ROW_NEXT])
    assert [row[ROW_CHUNK_BYTES] for row, label in zip(rows, labels, strict=True) if label.operator == "Silu"] == [0, 0]


def test_a_row_holds_so_many_arguments_and_no_more() -> None:
    graph = check(printing)
    node = graph.nodes[2]

    class Wide(node.operator):  # type: ignore[name-defined,misc]
        @classmethod
        def lower(cls, node: object, lowering: Lowering) -> None:
            lowering.add(silu, *range(ROW_ARGUMENTS + 1))

    graph.nodes[2] = Node(Wide, node.inputs, node.outputs, node.attributes, node.call)
    with pytest.raises(Exception, match=f"a row holds {ROW_ARGUMENTS}"):
        lower(graph, as_float32, {}, MAX_TOKENS)

"""Random small graphs as a user might write them: any operator in any order, names rewritten, values read twice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from tests.memory_checkpoint import MemoryCheckpoint, normal

VOCAB = 19
HEAD_DIM = 6
EPS = 0.1
"""Large, so that what is divided by a norm is well conditioned."""
TRANSPOSED = " transposed"
"""What follows the name of a weight that is to be turned round."""
NAMES = ["a", "b", "c", "d", "e"]


class Flatten(Operator):
    """[.., heads, dim] as [.., heads · dim]: an operator of the test's own, which has no kernel."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        if input.rank != 4:
            raise ShapeError("input must have heads")
        return input.with_shape(*input.shape[:2], input.size(2) * input.size(3))

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return input.reshape(*input.shape[:2], -1)


class RandomGraph:
    """Calls of operators, and the weights that they read. `shapes`: of the data names, after the first two axes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.arrays: dict[str, NDArray[np.float32]] = {}
        self.layers = 0
        self.kv_heads: dict[int, int] = {}

    def __repr__(self) -> str:
        return "\n".join(f"{name}({', '.join(f'{k}={v!r}' for k, v in given.items())})" for name, given in self.calls)

    def call(self, operator: str, **arguments: Any) -> None:
        self.calls.append((operator, arguments))

    def weight(self, *shape: int, near: float = 0.0) -> str:
        """The name of a new weight; matrices keep the size of what they multiply."""
        name = f"w{len(self.arrays)}.weight"
        scale = 1 / math.sqrt(shape[-1]) if len(shape) == 2 else 0.3
        self.arrays[name] = np.float32(near) + normal(len(self.arrays), *shape, scale=scale)
        return name

    def with_rank(self, rank: int) -> list[str]:
        return [name for name, shape in self.shapes.items() if len(shape) == rank - 2]

    def linear(self, source: str, target: str, size: int, bias: bool) -> None:
        weight = self.weight(size, self.shapes[source][0])
        if len(self.arrays) % 3 == 0:  # stored as [in features, out features]
            self.arrays[weight] = np.ascontiguousarray(self.arrays[weight].T)
            weight += TRANSPOSED
        self.call("Linear", input=source, weight=weight, bias=self.weight(size) if bias else "none", output=target)
        self.shapes[target] = (size,)

    def checked(self) -> CheckedGraph:
        return check_graph(build_graph(self._class(), CONFIG), self.checkpoint().tensors)

    def checkpoint(self) -> MemoryCheckpoint:
        return MemoryCheckpoint(CONFIG, self.arrays)

    def _class(self) -> type[ComputeGraph]:
        calls = self.calls

        class Model(ComputeGraph):
            operators = (Flatten,)

            def build(self) -> None:
                for name, arguments in calls:
                    operator = getattr(self, name)
                    operator(**{key: _argument(self, key, value) for key, value in arguments.items()})

        return Model


CONFIG = {"head_dim": HEAD_DIM, "max_position_embeddings": 256, "vocab_size": VOCAB}


def _argument(graph: ComputeGraph, parameter: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.endswith(TRANSPOSED):
        return graph.weight[value.removesuffix(TRANSPOSED)].transposed()
    is_weight = parameter in ("weight", "bias", "sinks") or value.endswith(".weight")
    return (graph.weight if is_weight else graph.data)[value]


Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def random_graphs(draw: Draw, most_calls: int = 14) -> RandomGraph:
    """Graphs whose logits depend on every value that is still there at the end."""
    graph = RandomGraph()
    size = draw(st.sampled_from([1, 6, 12, 18, 24, 33]))
    graph.call("Embedding", input="inputIds", weight=graph.weight(VOCAB, size), output="a")
    graph.shapes["a"] = (size,)
    for _ in range(draw(st.integers(1, most_calls))):
        draw(st.sampled_from(_STEPS))(graph, draw)
    _gather(graph, draw)
    return graph


def _name(graph: RandomGraph, draw: Draw, rank: int | None = None) -> str | None:
    names = sorted(graph.shapes) if rank is None else sorted(graph.with_rank(rank))
    return draw(st.sampled_from(names)) if names else None


def _project(graph: RandomGraph, draw: Draw) -> None:
    """One to three Linears on one value, as q, k and v or gate and up are."""
    source = _name(graph, draw, 3)
    if source is None:
        return
    for target in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
        if source in graph.with_rank(3):
            graph.linear(source, target, draw(st.sampled_from([6, 12, 18, 5])), draw(st.booleans()))


def _norm(graph: RandomGraph, draw: Draw) -> None:
    source, target = _name(graph, draw), draw(st.sampled_from(NAMES))
    assert source is not None
    shape = graph.shapes[source]
    graph.call("RMSNorm", input=source, weight=graph.weight(shape[-1], near=1.0), eps=EPS, output=target)
    graph.shapes[target] = shape


def _silu(graph: RandomGraph, draw: Draw) -> None:
    source, target = _name(graph, draw), draw(st.sampled_from(NAMES))
    assert source is not None
    graph.call("Silu", input=source, output=target)
    graph.shapes[target] = graph.shapes[source]


def _combine(graph: RandomGraph, draw: Draw) -> None:
    """AddTo or MulTo, often of what was just made, sometimes of a value with itself."""
    first = _name(graph, draw)
    assert first is not None
    alike = [name for name in sorted(graph.shapes) if graph.shapes[name] == graph.shapes[first]]
    second = draw(st.sampled_from(alike))
    if draw(st.booleans()):
        graph.call("AddTo", input0=first, input1=second, alpha=draw(st.sampled_from([1.0, -0.5, 0.0])))
        graph.call("Mul", input=first, v=0.5, output=first)
    else:
        graph.call("MulTo", input0=first, input1=second)


def _share(graph: RandomGraph, draw: Draw) -> None:
    """AddTo or MulTo of a number or a vector that features share, or of what has the first axes alone."""
    first = _name(graph, draw)
    assert first is not None
    shape = graph.shapes[first]
    leading = [name for name, other in sorted(graph.shapes.items()) if other[-1] == 1 and other[:-1] == shape[:-1]]
    second = draw(st.sampled_from([None, *leading])) or graph.weight(draw(st.sampled_from([1, shape[-1]])), near=1.0)
    if draw(st.booleans()):
        graph.call("AddTo", input0=first, input1=second, alpha=-0.5)
    else:
        graph.call("MulTo", input0=first, input1=second)
        graph.call("Mul", input=first, v=0.5, output=first)


def _reorder(graph: RandomGraph, draw: Draw) -> None:
    """Heads and their features exchanged, or softmax of each."""
    source, target = _name(graph, draw, 4), draw(st.sampled_from(NAMES))
    if source is None:
        return
    heads, dim = graph.shapes[source]
    if draw(st.booleans()):
        graph.call("Permute", input=source, axis=(0, 1, 3, 2), output=target)
        graph.shapes[target] = (dim, heads)
    else:
        graph.call("SoftMax", input=source, output=target)
        graph.shapes[target] = (heads, dim)


def _residual(graph: RandomGraph, draw: Draw) -> None:
    """AddTo, then the norm of the sum: the pair that is fused."""
    first = _name(graph, draw)
    assert first is not None
    second = draw(st.sampled_from([name for name in sorted(graph.shapes) if graph.shapes[name] == graph.shapes[first]]))
    target = draw(st.sampled_from(NAMES))
    graph.call("AddTo", input0=first, input1=second)
    weight = graph.weight(graph.shapes[first][-1], near=1.0)
    graph.call("RMSNorm", input=first, weight=weight, eps=EPS, output=target)
    graph.shapes[target] = graph.shapes[first]


def _gate(graph: RandomGraph, draw: Draw) -> None:
    """Silu or Gelu, and MulTo: the pair that is fused, or nearly that."""
    gate = _name(graph, draw)
    assert gate is not None
    up = draw(st.sampled_from([name for name in sorted(graph.shapes) if graph.shapes[name] == graph.shapes[gate]]))
    target = draw(st.sampled_from([gate, *NAMES]))
    graph.call(draw(st.sampled_from(["Silu", "Gelu"])), input=gate, output=target)
    graph.shapes[target] = graph.shapes[gate]
    if graph.shapes[up] == graph.shapes[target]:
        graph.call("MulTo", input0=target, input1=up)


def _cut(graph: RandomGraph, draw: Draw) -> None:
    """A slice of the features or of the heads."""
    source, target = _name(graph, draw), draw(st.sampled_from(NAMES))
    assert source is not None
    shape = graph.shapes[source]
    axis = draw(st.integers(2, 1 + len(shape)))
    end = draw(st.integers(1, shape[axis - 2]))
    start = draw(st.integers(0, end - 1))
    negative = draw(st.booleans())
    graph.call("Split", input=source, axis=axis - 2 - len(shape) if negative else axis, start=start, end=end,
               output=target)  # fmt: skip
    graph.shapes[target] = (*shape[: axis - 2], end - start, *shape[axis - 1 :])


def _swiglu(graph: RandomGraph, draw: Draw) -> None:
    source, target = _name(graph, draw), draw(st.sampled_from(NAMES))
    assert source is not None
    shape = graph.shapes[source]
    if shape[-1] % 2 == 0:
        graph.call("Swiglu", input=source, output=target)
        graph.shapes[target] = (*shape[:-1], shape[-1] // 2)


def _join(graph: RandomGraph, draw: Draw) -> None:
    """Cat or Repeat along the features or the heads, kept small; Add and Mul."""
    first, target = _name(graph, draw), draw(st.sampled_from(NAMES))
    assert first is not None
    shape = graph.shapes[first]
    which = draw(st.sampled_from(["Add", "Mul", "Cat", "Repeat"]))
    if which in ("Add", "Mul"):
        graph.call(which, input=first, v=draw(st.sampled_from([0.75, -1.0])), output=target)
        graph.shapes[target] = shape
        return
    axis = draw(st.integers(2, 1 + len(shape)))
    before, after = shape[: axis - 2], shape[axis - 1 :]
    alike = [
        name for name, other in sorted(graph.shapes.items())
        if len(other) == len(shape) and other[: axis - 2] == before and other[axis - 1 :] == after
    ]  # fmt: skip
    size = shape[axis - 2]
    if which == "Repeat":
        times = draw(st.integers(1, 3))
        graph.call("Repeat", input=first, axis=axis - 2 - len(shape), repeatTimes=times, output=target)
        size *= times
    else:
        second = draw(st.sampled_from(alike))
        size += graph.shapes[second][axis - 2]
        graph.call("Cat", input0=first, input1=second, axis=axis, output=target)
    graph.shapes[target] = (*before, size, *after)
    if size > 4 and math.prod(graph.shapes[target]) > 100:  # cut it back
        graph.call("Split", input=target, axis=axis, start=1, end=4, output=target)
        graph.shapes[target] = (*before, 3, *after)


def _expand(graph: RandomGraph, draw: Draw) -> None:
    names = [name for name in sorted(graph.with_rank(3)) if graph.shapes[name][0] % HEAD_DIM == 0]
    if names:
        name = draw(st.sampled_from(names))
        graph.call("ExpandHead", input=name, headDim=HEAD_DIM)
        graph.shapes[name] = (graph.shapes[name][0] // HEAD_DIM, HEAD_DIM)


def _rotate(graph: RandomGraph, draw: Draw) -> None:
    names = [name for name in sorted(graph.with_rank(4)) if graph.shapes[name][1] == HEAD_DIM]
    if names:
        _rotation(graph, draw(st.sampled_from(names)), draw(st.sampled_from([1, 3, 6])))


def _rotation(graph: RandomGraph, name: str, dim: int) -> None:
    graph.call("LlamaRotatePosition2D", input=name, positionIds="positionIds", sin="sin", cos="cos", rotaryDim=dim)


def _attend(graph: RandomGraph, draw: Draw) -> None:
    """q, k and v from one value, rotated or not, then attention; at times a name serves twice."""
    source = _name(graph, draw, 3)
    if source is None:
        return
    kv_heads, group = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2)]))
    q, k, v, out = draw(st.permutations(["q", "k", "v", "a"]))
    if source in (q, k, v):
        return
    graph.linear(source, q, kv_heads * group * HEAD_DIM, draw(st.booleans()))
    graph.linear(source, k, kv_heads * HEAD_DIM, draw(st.booleans()))
    if draw(st.integers(0, 4)) == 0:
        v = k
    else:
        graph.linear(source, v, kv_heads * HEAD_DIM, draw(st.booleans()))
    for name in dict.fromkeys((q, k, v)):
        graph.call("ExpandHead", input=name, headDim=HEAD_DIM)
        graph.shapes[name] = (graph.shapes[name][0] // HEAD_DIM, HEAD_DIM)
    for name in (q, k):
        if draw(st.integers(0, 3)):
            _rotation(graph, name, draw(st.sampled_from([2, 3, 6])))
    for name in (q, k):
        if draw(st.integers(0, 3)) == 0:
            weight = graph.weight(HEAD_DIM, near=1.0)
            graph.call("RMSNorm", input=name, weight=weight, eps=EPS, output=name)
    layer = graph.layers
    graph.layers += 1
    graph.kv_heads[layer] = kv_heads
    original = draw(st.sampled_from([source, q]))
    graph.call("FusedAttention", q=q, k=f"pastKey.{layer}", v=f"pastValue.{layer}", curk=k, curv=v,
               original=original, mask="attentionMask", output=out, seqLens="seqLens", scale=0.4,
               **_limits(graph, draw, kv_heads * group))  # fmt: skip
    graph.shapes[out] = (kv_heads * group * HEAD_DIM,)


def _attend_again(graph: RandomGraph, draw: Draw) -> None:
    """A query of its own, rotated or not, to the keys and values of an earlier layer."""
    source = _name(graph, draw, 3)
    if source in (None, "q") or not graph.kv_heads:
        return
    layer = draw(st.sampled_from(sorted(graph.kv_heads)))
    heads = graph.kv_heads[layer] * draw(st.integers(1, 2))
    graph.linear(source, "q", heads * HEAD_DIM, draw(st.booleans()))
    graph.call("ExpandHead", input="q", headDim=HEAD_DIM)
    graph.shapes["q"] = (heads, HEAD_DIM)
    if draw(st.booleans()):
        _rotation(graph, "q", draw(st.sampled_from([2, 6])))
    graph.call("FusedAttention", q="q", k=f"pastKey.{layer}", v=f"pastValue.{layer}", curk=None, curv=None,
               original=source, mask="attentionMask", output="a", seqLens="seqLens", scale=0.4,
               **_limits(graph, draw, heads))  # fmt: skip
    graph.shapes["a"] = (heads * HEAD_DIM,)


def _limits(graph: RandomGraph, draw: Draw, heads: int) -> dict[str, Any]:
    """What attention may be limited by, in every second one."""
    limits: dict[str, Any] = {}
    if draw(st.booleans()):
        limits["window"] = draw(st.integers(0, 8))
        limits["chunk"] = draw(st.sampled_from([0, 4]))
        limits["softcap"] = draw(st.sampled_from([0.0, 1.5]))
        if draw(st.booleans()):
            limits["sinks"] = graph.weight(heads)
    return limits


_STEPS = (
    _share, _reorder, _project, _project, _norm, _silu, _combine, _residual, _residual, _gate, _gate, _cut, _swiglu,
    _join, _join, _expand, _rotate, _attend, _attend, _attend_again,
)  # fmt: skip


def _gather(graph: RandomGraph, draw: Draw) -> None:
    """Add a projection of every value into one, which makes the logits; before or after the last token is taken."""
    early = draw(st.booleans())
    for number, name in enumerate(sorted(graph.shapes)):
        if len(graph.shapes[name]) == 2:
            graph.call("Flatten", input=name, output=name)
            graph.shapes[name] = (math.prod(graph.shapes[name]),)
        if early:
            graph.call("SplitLastTokenStates", input=name, seqLens="seqLens", output=name)
        graph.linear(name, "sum" if number == 0 else "part", VOCAB, draw(st.booleans()))
        if number:
            graph.call("AddTo", input0="sum", input1="part")
    if not early:
        graph.call("SplitLastTokenStates", input="sum", seqLens="seqLens", output="sum")
    if draw(st.booleans()):
        graph.call("RMSNorm", input="sum", weight=graph.weight(VOCAB, near=1.0), eps=EPS, output="logits")
    else:
        graph.call("Mul", input="sum", v=1.0, output="logits")
    if draw(st.booleans()):  # what comes after the logits must leave them alone
        graph.call("Silu", input="sum", output="p")
        graph.call("AddTo", input0="sum", input1="p")
        graph.call("Linear", input="logits", weight=graph.weight(5, VOCAB), bias="none", output="q")

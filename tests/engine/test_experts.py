"""Mixtures of experts: both engines agree for every gate, and bits are the same in any chunks, company and threads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_types import Rule, WeightTypes, steering_weights
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from tests.engine.two_engines import IDS, VOCAB, assert_alike, checked_graph, opened
from tests.memory_checkpoint import MemoryCheckpoint, normal

HIDDEN, INNER, EXPERTS, PICKS = 36, 22, 5, 3
ARRAYS = {
    "embed": normal(1, VOCAB, HIDDEN), "head": normal(2, VOCAB, HIDDEN, scale=HIDDEN**-0.5),
    "router": normal(3, EXPERTS, HIDDEN, scale=0.5), "bias": normal(4, EXPERTS), "scale": normal(5, EXPERTS),
    "gate_up": normal(6, EXPERTS, 2 * INNER, HIDDEN, scale=0.3), "down": normal(7, EXPERTS, HIDDEN, INNER, scale=0.3),
    **{f"gate.{e}": normal(10 + e, INNER, HIDDEN, scale=0.3) for e in range(EXPERTS)},
    **{f"up.{e}": normal(20 + e, INNER, HIDDEN, scale=0.3) for e in range(EXPERTS)},
    **{f"down.{e}": normal(30 + e, HIDDEN, INNER, scale=0.3) for e in range(EXPERTS)},
    **{f"wide bias.{e}": normal(40 + e, 2 * INNER) for e in range(EXPERTS)},
    **{f"inner bias.{e}": normal(50 + e, INNER) for e in range(EXPERTS)},
    **{f"outer bias.{e}": normal(60 + e, HIDDEN) for e in range(EXPERTS)},
}  # fmt: skip
CONFIG = {"max_position_embeddings": 512, "vocab_size": VOCAB}


def mixture(gate_type: int, *, stacked: bool, biased: bool = False) -> Callable[[ComputeGraph], None]:
    """A model of nothing but a mixture."""

    def build(self: ComputeGraph) -> None:
        data, weight = self.data, self.weight

        def each(name: str) -> list[object]:
            return [weight[f"{name}.{expert}"] for expert in range(EXPERTS)]

        self.Embedding(data["inputIds"], weight["embed"], data["x"])
        self.Linear(data["x"], weight["router"], None, data["scores"])
        self.Sigmoid(data["scores"], data["scores"])
        self.SelectExpert(data["scores"], data["index"], data["score"], PICKS, 1, 2.0, weight["bias"], weight["scale"])
        gate, up, down = (weight["gate_up"], None, weight["down"]) if stacked else map(each, ("gate", "up", "down"))
        self.MergeMOE(
            data["x"], data["index"], data["score"], gate, up, down, data["y"], gate_type, limit=0.5,
            gateBias=each("wide bias" if stacked else "inner bias") if biased else None,
            upBias=each("inner bias") if biased and not stacked else None,
            downBias=each("outer bias") if biased else None,
        )  # fmt: skip
        self.AddTo(data["x"], data["y"])
        self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
        self.Linear(data["x"], weight["head"], None, data["logits"])

    return build


def of_two_stacks(self: ComputeGraph, norm: int = 2) -> None:
    """As GGUF has them: a stack of gates and one of ups."""
    data, weight = self.data, self.weight
    self.Embedding(data["inputIds"], weight["embed"], data["x"])
    self.Linear(data["x"], weight["router"], None, data["scores"])
    self.SelectExpert(data["scores"], data["index"], data["score"], PICKS, norm, jitter=0.4)
    gate, up = weight["gate_up"].part(1, 0, INNER), weight["gate_up"].part(1, INNER, 2 * INNER)
    biases = [[weight[f"{name} bias.{e}"] for e in range(EXPERTS)] for name in ("inner", "outer")]
    self.MergeMOE(
        data["x"], data["index"], data["score"], gate, up, weight["down"], data["y"],
        gateBias=biases[0], upBias=biases[0], downBias=biases[1],
    )  # fmt: skip
    self.AddTo(data["x"], data["y"])
    self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
    self.Linear(data["x"], weight["head"], None, data["logits"])


@pytest.mark.parametrize("norm", [2, 3])
def test_gates_and_ups_may_be_stacks_of_their_own(norm: int) -> None:
    def build(self: ComputeGraph) -> None:
        of_two_stacks(self, norm)

    assert_alike(build, ARRAYS, CONFIG)


@pytest.mark.parametrize("gate_type", range(7))
@pytest.mark.parametrize("biased", [False, True])
def test_both_engines_agree(gate_type: int, biased: bool) -> None:
    arrays = dict(ARRAYS)
    if gate_type == 4:  # a gate alone
        arrays["gate_up"] = ARRAYS["gate_up"][:, :INNER]
        arrays.update({f"wide bias.{e}": ARRAYS[f"inner bias.{e}"] for e in range(EXPERTS)})
    assert_alike(mixture(gate_type, stacked=True, biased=biased), arrays, CONFIG)
    if gate_type not in (2, 4):
        assert_alike(mixture(gate_type, stacked=False, biased=biased), arrays, CONFIG)


CHECKPOINT = MemoryCheckpoint(CONFIG, ARRAYS)
SLOW = ["bfloat16", "int8", "int8g32", "int4g32"]
TYPES = ["float32", *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in SLOW)]


def executor_of(dtype: str, threads: int) -> CompiledExecutor:
    graph = checked_graph(mixture(0, stacked=False), CHECKPOINT)
    return CompiledExecutor(graph, CHECKPOINT, weight_types=WeightTypes(dtype), threads=threads)


def logits(executor: CompiledExecutor, chunks: list[int]) -> NDArray[np.float32]:
    """Of each chunk's last token."""
    sequence, rows, begin = executor.cache.new_sequence(), [], 0
    for count in chunks:
        rows.append(executor.run([SequenceStep(sequence, IDS[begin : begin + count])])[0].copy())
        begin += count
    executor.cache.free(sequence)
    return np.stack(rows)


@pytest.fixture(scope="module", params=TYPES)
def alone(request: pytest.FixtureRequest) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """A type, and the logits of each token, one at a time, by one worker."""
    executor = executor_of(request.param, 1)
    yield request.param, logits(executor, [1] * 300)
    executor.close()


@pytest.mark.parametrize("threads", [1, 2, 4, 7])
def test_the_bits_do_not_depend_on_company(alone: tuple[str, NDArray[np.float32]], threads: int) -> None:
    dtype, expected = alone
    executor = executor_of(dtype, threads)
    for chunks in ([300], [1, 2, 64, 33, 200], [130, 1, 1, 97, 71]):
        ends = np.cumsum(chunks) - 1
        np.testing.assert_array_equal(logits(executor, chunks), expected[ends])
    sequences = [executor.cache.new_sequence() for _ in range(9)]
    counts = [1, 40, 3, 1, 100, 7, 1, 2, 64]
    steps = [SequenceStep(sequence, IDS[:count]) for sequence, count in zip(sequences, counts, strict=True)]
    np.testing.assert_array_equal(executor.run(steps), expected[np.array(counts) - 1])
    executor.close()


def test_the_router_keeps_its_floats() -> None:
    graph = checked_graph(mixture(0, stacked=True), CHECKPOINT)
    assert [value.name for value in steering_weights(graph)] == ["router"]
    format_of = WeightTypes("int4g32").formats(graph)
    assert {name: format_of(graph.weights[name]).name for name in ("router", "gate_up", "down", "head")} == {
        "router": "float32", "gate_up": "int4g32", "down": "int4g32", "head": "int8g128",
    }  # fmt: skip


def by_features(self: ComputeGraph) -> None:
    """A mixture, and one whose scores are features of the token."""
    data, weight = self.data, self.weight
    mixture(0, stacked=True)(self)
    del self.calls[-2:]
    self.Split(data["x"], -1, 0, EXPERTS, data["scores"])
    self.SelectExpert(data["scores"], data["index"], data["score"], PICKS)
    self.MergeMOE(data["x"], data["index"], data["score"], weight["gate_up"], None, weight["down"], data["x"])
    self.SplitLastTokenStates(data["x"], data["seqLens"], data["x"])
    self.Linear(data["x"], weight["head"], None, data["logits"])


def test_experts_before_such_a_choice_are_no_routers() -> None:
    assert [value.name for value in steering_weights(checked_graph(by_features, CHECKPOINT))] == ["router"]


def test_everything_runs_in_the_walk() -> None:
    graph = checked_graph(mixture(2, stacked=True, biased=True), CHECKPOINT)
    with opened(CompiledExecutor, graph, CHECKPOINT) as executor:
        (segment,) = executor._program.segments  # type: ignore[attr-defined]
        assert isinstance(segment, np.ndarray)


def by_rules(self: ComputeGraph) -> None:
    """A router of arithmetic: what no expert's number is means the nearest, NaN the first."""
    data, weight = self.data, self.weight
    self.Embedding(data["inputIds"], weight["embed"], data["x"])
    self.Linear(data["x"], weight["router"], None, data["index"])
    self.Mul(data["index"], 4.0, data["index"])
    self.Sigmoid(data["index"], data["score"])
    self.MergeMOE(data["x"], data["index"], data["score"], weight["gate_up"], None, weight["down"], data["y"])
    self.SplitLastTokenStates(data["y"], data["seqLens"], data["y"])
    self.Linear(data["y"], weight["head"], None, data["logits"])


def test_a_router_of_ones_own_may_name_anything() -> None:
    assert_alike(by_rules, ARRAYS, CONFIG)


def test_a_rule_for_some_experts_alone_is_refused() -> None:
    graph = checked_graph(mixture(0, stacked=False), CHECKPOINT)
    types = WeightTypes("int8", rules=(Rule(re.compile(r"gate\.3"), "int4", ""),))
    with pytest.raises(GraphError, match=r'"gate.0" and "gate.3" together, which need one type.*int8 and int4'):
        CompiledExecutor(graph, CHECKPOINT, weight_types=types)

"""What the reference executor does beside evaluating references: checks, caches, stops, host steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ftllm_nb.checkpoint.random import RandomCheckpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.reference_executor import ReferenceExecutor
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import ContextLengthError, EngineError, StepStopped
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.types import TensorType
from ftllm_nb.models import graph_class
from ftllm_nb.models.qwen2 import Qwen2Model
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext

CONFIG: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
TOKENS = np.arange(3, 15, dtype=np.int32)


def open_executor(model: type[ComputeGraph] | None = None, **options: Any) -> ReferenceExecutor:
    graph = build_graph(model or graph_class(CONFIG), CONFIG)
    shapes = build_graph(graph_class(CONFIG), CONFIG).weight_shapes()
    # Weights of deviation 0.02 make logits that hardly depend on the context; norms make up for it.
    checkpoint = RandomCheckpoint(CONFIG, shapes, dtype="float32", seed=1)
    return ReferenceExecutor(check_graph(graph, checkpoint.tensors), checkpoint, **options)


@pytest.fixture
def executor() -> Iterator[ReferenceExecutor]:
    executor = open_executor(kv_cache_dtype="float32")
    yield executor
    executor.close()


def run(executor: ReferenceExecutor, tokens: Any, sequence: Any = None) -> Any:
    sequence = sequence or executor.cache.new_sequence()
    return executor.run([SequenceStep(sequence, np.asarray(tokens, np.int32))])[0]


def test_the_cache_is_rounded_before_use() -> None:
    """A float16 cache changes even the logits of the tokens whose keys and values were just made."""
    exact, rounded = (run(open_executor(kv_cache_dtype=dtype), TOKENS) for dtype in ("float32", "float16"))
    difference = np.abs(exact - rounded).max()
    assert 0 < difference < 1e-3


def test_weights_are_rounded_to_the_type_in_which_they_would_be_stored() -> None:
    auto, float32, float16, bfloat16 = (
        run(open_executor(weight_types=WeightTypes(dtype)), TOKENS)
        for dtype in ("auto", "float32", "float16", "bfloat16")
    )
    np.testing.assert_array_equal(auto, float32)
    assert 0 < np.abs(float16 - float32).max() < np.abs(bfloat16 - float32).max() < 1e-2


def test_progress_is_reported_for_each_weight() -> None:
    calls: list[tuple[str, int, int]] = []
    executor = open_executor(progress=lambda *call: calls.append(call))
    total = len(executor.graph.weights)
    assert calls == [("load", done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize(
    ("tokens", "kind", "expected"),
    [
        ([1, 50], EngineError, "token id 50 is outside of the vocabulary of 50 tokens"),
        ([-1, 2], EngineError, "token id -1 is outside of the vocabulary of 50 tokens"),
        ([], EngineError, "at least one token"),
        ([1] * 65, ContextLengthError, "65 tokens do not fit into the model's context of 64"),
        ([1] * 513, EngineError, "at most 512 tokens"),
    ],
)
def test_wrong_steps(executor: ReferenceExecutor, tokens: list[int], kind: type[Exception], expected: str) -> None:
    sequence = executor.cache.new_sequence()
    with pytest.raises(kind, match=expected):
        run(executor, tokens, sequence)
    assert sequence.length == 0


def test_empty_steps_and_a_sequence_twice(executor: ReferenceExecutor) -> None:
    with pytest.raises(EngineError, match="at least one token"):
        executor.run([])
    step = SequenceStep(executor.cache.new_sequence(), TOKENS)
    with pytest.raises(EngineError, match="once only"):
        executor.run([step, step])


def test_the_context_may_be_filled_to_the_last_token(executor: ReferenceExecutor) -> None:
    sequence = executor.cache.new_sequence()
    run(executor, [1] * 64, sequence)
    with pytest.raises(ContextLengthError):
        run(executor, [1], sequence)
    assert sequence.length == 64


def test_truncate(executor: ReferenceExecutor) -> None:
    sequence = executor.cache.new_sequence()
    run(executor, TOKENS, sequence)
    executor.cache.truncate(sequence, 4)
    again = run(executor, TOKENS[4:], sequence)
    np.testing.assert_allclose(again, run(executor, TOKENS), atol=1e-6)
    with pytest.raises(EngineError, match="a sequence of 12 tokens cannot be cut to 13"):
        executor.cache.truncate(sequence, 13)


class StopAfterward(Operator):
    """Asks the executor to stop, as another thread would while a step runs."""

    executor: ReferenceExecutor
    parameters = (Parameter("input", Kind.INPLACE),)

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return input

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        StopAfterward.executor.request_stop()
        return input


class StoppedModel(Qwen2Model):
    operators = (StopAfterward,)

    def build(self) -> None:
        super().build()
        self.StopAfterward(self.data["logits"])


def test_a_stop_between_operators_discards_the_step() -> None:
    class Model(StoppedModel):
        def build(self) -> None:
            super().build()
            self.Silu(self.data["logits"], self.data["logits"])

    executor = StopAfterward.executor = open_executor(Model)
    sequence = executor.cache.new_sequence()
    for _ in range(2):
        with pytest.raises(StepStopped):
            run(executor, TOKENS, sequence)
        assert sequence.length == 0


def test_a_stop_request_lasts_until_it_is_cleared(executor: ReferenceExecutor) -> None:
    executor.request_stop()
    with pytest.raises(StepStopped):
        run(executor, TOKENS)
    executor.clear_stop()
    assert run(executor, TOKENS).shape == (50,)


def test_print_and_exit(capsys: pytest.CaptureFixture[str]) -> None:
    class Model(Qwen2Model):
        def build(self) -> None:
            super().build()
            self.Print(self.data["last"])
            self.Exit()

    executor = open_executor(Model)
    sequence = executor.cache.new_sequence()
    with pytest.raises(EngineError, match=rf"the graph's Exit\(\) at {__file__}:\d+ ended this step"):
        run(executor, TOKENS, sequence)
    assert capsys.readouterr().out.startswith(f"last [1, 1, 24] float32 ({__file__}:")
    assert sequence.length == 0


def test_values_are_dropped_after_their_last_reader(
    executor: ReferenceExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The references see no more than what later operators need: memory stays that of a few tensors."""
    import weakref

    alive: list[weakref.ref[Any]] = []
    most = 0
    evaluate = type(executor.graph.nodes[0]).evaluate

    def counting(self: Any, step: StepContext, inputs: dict[str, Any]) -> dict[str, Any]:
        nonlocal most
        results = evaluate(self, step, inputs)
        alive.extend(weakref.ref(array) for array in results.values())
        most = max(most, sum(ref() is not None for ref in alive))
        return results

    monkeypatch.setattr(type(executor.graph.nodes[0]), "evaluate", counting)
    run(executor, TOKENS)
    assert most < 12 < 30 < len(alive)

"""Every operator on every kind of input: a sentence where that cannot be, else the same numbers on both engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.errors import FtllmError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.operators import public_operators
from ftllm_nb.ops.base import Kind, Parameter
from tests.engine.two_engines import IDS, KINDS, VOCAB, checked_graph, opened
from tests.memory_checkpoint import MemoryCheckpoint, normal

INPUTS = ["inputIds", "positionIds", "sin", "cos", "seqLens", "atype", "attentionMask"]
VALUES = ["x", "y", "heads", "more heads", "last"]
ARRAYS = {
    "embed.weight": normal(1, VOCAB, 12), "vector": normal(2, 12), "short vector": normal(3, 4),
    "matrix": normal(4, 12, 12, scale=0.3),
}  # fmt: skip
CACHES = {"k": "pastKey.0", "v": "pastValue.0"}
DATA = st.sampled_from(INPUTS + 3 * VALUES)
WEIGHTS = st.sampled_from(sorted(ARRAYS))


def arguments(parameter: Parameter) -> st.SearchStrategy[Any]:
    """Pairs of what is taken from ("data", "weight", "number") and what."""
    kind = parameter.kind
    if kind is Kind.CACHE:
        return st.just(("data", CACHES[parameter.name]))
    if kind is Kind.STATE:
        return st.just(("data", f"pastState.{parameter.name}.0"))
    if kind is Kind.OUTPUT:
        return st.just(("data", "out"))
    if kind is Kind.FLOAT:
        return st.tuples(st.just("number"), st.sampled_from([0.5, -1.0]))
    if kind is Kind.INTS:
        orders = st.sampled_from([(0, 1, 3, 2), (0, 1, 2), (-1, 4), (2, -1), (12,), (3, 4)])
        return st.tuples(st.just("number"), orders | st.lists(st.integers(-2, 4), max_size=4).map(tuple))
    if kind is Kind.INT:
        return st.tuples(st.just("number"), st.integers(-2, 4))
    if kind is Kind.WEIGHTS:
        return st.lists(WEIGHTS, max_size=2).map(lambda names: ("weights", names)) | st.just(("number", None))
    found = st.nothing()
    if kind in (Kind.INPUT, Kind.INPLACE, Kind.INPUT_OR_WEIGHT):
        found |= st.tuples(st.just("data"), DATA)
    if kind in (Kind.WEIGHT, Kind.OPTIONAL_WEIGHT, Kind.INPUT_OR_WEIGHT):
        found |= st.tuples(st.just("weight"), WEIGHTS)
    return found


@pytest.mark.parametrize("name", sorted(set(public_operators()) - {"Exit"}))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_argument_breaks_an_engine(name: str, data: st.DataObject) -> None:
    given = {each.name: data.draw(arguments(each)) for each in public_operators()[name].parameters}

    def build(self: ComputeGraph) -> None:
        tables = {"data": self.data, "weight": self.weight}
        self.Embedding(self.data["inputIds"], self.weight["embed.weight"], self.data["x"])
        self.Silu(self.data["x"], self.data["y"])
        self.Silu(self.data["y"], self.data["heads"])
        self.ExpandHead(self.data["heads"], 4)
        self.Silu(self.data["heads"], self.data["more heads"])
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["last"])
        found = {key: tables[where][what] if where in tables else what for key, (where, what) in given.items()}
        for key, (where, what) in given.items():
            if where == "weights":
                found[key] = [self.weight[each] for each in what]
        getattr(self, name)(**found)
        self.AddTo(self.data["x"], self.data["y"])
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["x"])
        self.AddTo(self.data["x"], self.data["last"])
        self.Linear(self.data["x"], self.weight["embed.weight"], None, self.data["logits"])

    config = {"head_dim": 4, "max_position_embeddings": 64, "vocab_size": VOCAB}
    checkpoint = MemoryCheckpoint(config, ARRAYS)
    results = []
    for kind in KINDS:
        try:
            with opened(kind, checked_graph(build, checkpoint), checkpoint) as executor:
                steps = [SequenceStep(executor.cache.new_sequence(), IDS[begin : begin + 3]) for begin in (0, 7)]
                results.append(executor.run(steps).copy())
        except FtllmError as error:
            assert str(error).endswith((".", "?"))
    if len(results) == len(KINDS):
        np.testing.assert_allclose(*results, rtol=0, atol=1e-4 * max(1, np.abs(results[1]).max()))

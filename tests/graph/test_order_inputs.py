"""Products whose columns lie in another order: their inputs are ordered alike, or they are refused."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.order_inputs import order_inputs
from ftllm_nb.ops.order_features import OrderFeatures
from tests.engine.test_experts import ARRAYS, CONFIG, HIDDEN, mixture
from tests.engine.two_engines import checked_graph
from tests.graph.small_graphs import HEAD_DIM, HEADS, begin, check, end
from tests.memory_checkpoint import MemoryCheckpoint

ORDER = np.arange(HIDDEN, dtype=np.int32)[::-1].copy()


def test_one_order_is_made_once() -> None:
    def build(graph: ComputeGraph) -> None:
        begin(graph)
        for name in "qk":
            graph.Linear(graph.data["x"], graph.weight[f"{name}.weight"], None, graph.data[name])
        graph.Linear(graph.data["q"], graph.weight["o.weight"], None, graph.data["y"])
        end(graph, "y")

    order = np.arange(HEADS * HEAD_DIM, dtype=np.int32)[::-1].copy()
    graph = order_inputs(check(build), lambda name: order if name in ("q.weight", "k.weight") else None)
    makers = [node for node in graph.nodes if node.operator is OrderFeatures]
    assert len(makers) == 1
    ordered = makers[0].outputs["output"]
    readers = [node.inputs["weight"].name for node in graph.nodes if ordered in node.inputs.values()]
    assert readers == ["q.weight", "k.weight"]


@pytest.mark.parametrize("name", ["gate.0", "down.3", "embed"])
def test_what_is_no_product_alone_is_refused(name: str) -> None:
    """Each expert would want an order of its own of the one input."""
    graph = checked_graph(mixture(0, stacked=False), MemoryCheckpoint(CONFIG, ARRAYS))
    with pytest.raises(GraphError, match="are ordered by their activations"):
        order_inputs(graph, lambda weight: ORDER if weight == name else None)

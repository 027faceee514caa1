"""Products whose columns lie in another order: their inputs are ordered alike, or they are refused."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.order_inputs import order_inputs
from ftllm_nb.ops.merge_moe import MergeMOE
from ftllm_nb.ops.order_features import OrderFeatures
from ftllm_nb.ops.ordered_merge_moe import OrderedMergeMOE
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


def test_experts_have_orders_of_their_own() -> None:
    graph = checked_graph(mixture(0, stacked=False), MemoryCheckpoint(CONFIG, ARRAYS))
    orders = {"gate.0": ORDER, "up.3": np.roll(ORDER, 5)}
    changed = order_inputs(graph, orders.get)
    (node,) = [node for node in changed.nodes if node.operator is OrderedMergeMOE]
    assert node.attributes["orders"].keys() == {"gate0", "up3"}
    assert not any(node.operator in (MergeMOE, OrderFeatures) for node in changed.nodes)


def test_what_is_no_product_alone_is_refused() -> None:
    graph = checked_graph(mixture(0, stacked=False), MemoryCheckpoint(CONFIG, ARRAYS))
    with pytest.raises(GraphError, match="are ordered by their activations"):
        order_inputs(graph, {"embed": ORDER}.get)

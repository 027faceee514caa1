"""Products whose matrices have their columns in another order than inputs: insert what orders the inputs alike.

An input is ordered once for each order in which products read it, before its first reader. An operator of many
products, each with an order of its own, becomes one that orders its rows itself (`Operator.orders`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.operators import all_operators
from ftllm_nb.ops.order_features import OrderFeatures

Orders = Callable[[str], NDArray[np.int32] | None]


def order_inputs(graph: CheckedGraph, order_of: Orders) -> CheckedGraph:
    """The same computation on matrices as they lie; `order_of`: see `Checkpoint.column_order`, by a weight's name.

    Raises `GraphError` for a matrix that is more than a product's, whose numbers lie as no other operator expects.
    """
    orders = {name: order for name in graph.weights if (order := order_of(name)) is not None}
    if not orders:
        return graph
    by_themselves = {each.orders: each for each in all_operators().values() if each.orders is not None}
    nodes: list[Node] = []
    ordered: dict[tuple[Value, bytes], Value] = {}
    for node in graph.nodes:
        read = dict(node.inputs)
        weights = {name: value.name for name, value in node.inputs.items() if value.kind == "weight"}
        own = {name: orders[weight] for name, weight in weights.items() if weight in orders}
        if own and node.operator in by_themselves and node.products.keys() >= own.keys():
            attributes = {**node.attributes, "orders": own}
            nodes.append(dataclasses.replace(node, operator=by_themselves[node.operator], attributes=attributes))
            continue
        for name, order in own.items():
            source = node.inputs.get(node.products.get(name, ""))
            # Of several products on one input each may have an order of its own.
            if source is None or source.kind == "weight" or len(node.products) > 1:
                raise GraphError(
                    f'{node.call.where}: the columns of "{weights[name]}" are ordered by their activations '
                    f"(desc_act or actorder), which {node.operator.name} cannot read: take a model that was quantized "
                    "without."
                )
            key = source, order.tobytes()
            if key not in ordered:
                ordered[key] = Value(f"{source.name} in another order", source.type, "data")
                outputs = {"output": ordered[key]}
                nodes.append(Node(OrderFeatures, {"input": source}, outputs, {"order": order}, node.call))
            read[node.products[name]] = ordered[key]
        nodes.append(node if read == node.inputs else dataclasses.replace(node, inputs=read))
    return dataclasses.replace(graph, nodes=nodes)

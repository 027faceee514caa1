"""Graphs from fastllm's JSON: how another language describes a model. json_text.py writes what this reads.

    {"graph": [{"type": "Linear", "nodes": {"input": {"name": "x", "type": "data"}, …}}, …],
     "config": {…}, "tokenizer_config": {…}, "generation_config": {…}}

A node is `data`, `weight`, `constant.float` or `constant.int` with a `value`, or `config.float` or
`config.int`: a number looked up in the config by `name`. A weight that is computed from a tensor has `steps`, each a
list (weight_steps.py), a `constant.int` may have a list as its `value`, and a node `weights` has a list of weights;
fastllm has none of them.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.call import Call, bind, graph_error
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.json_text import CONFIGS
from ftllm_nb.graph.nearest import did_you_mean, join_quoted
from ftllm_nb.graph.operators import public_operators
from ftllm_nb.graph.references import ConfigReference, DataReference, WeightReference
from ftllm_nb.graph.weight_steps import WeightStep, step_from_json
from ftllm_nb.ops.base import Operator

_NODE_TYPES = ("data", "weight", "constant.float", "constant.int", "config.float", "config.int", "weights")


def graph_class_from_json(text: str | bytes, file: str) -> type[ComputeGraph]:
    """A class whose build() makes the program that the JSON describes; raises `GraphError`.

    The JSON's config entries take precedence over the folder's. `file` is named in errors.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise GraphError(f"no valid JSON: {error.msg}.", file, error.lineno) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise graph_error(f"no valid JSON: {type(error).__name__}.", file, None) from error
    if not isinstance(document, dict) or not isinstance(document.get("graph"), list):
        raise graph_error(
            'no graph: expected a JSON object whose "graph" is a list of operators.', file, None
        )
    configs = {name: document.get(name) or {} for name in CONFIGS}
    for name, config in configs.items():
        if not isinstance(config, dict):
            raise graph_error(f'"{name}" must be a JSON object.', file, None)
    calls = [_call(entry, index, file) for index, entry in enumerate(document["graph"])]

    class JsonModel(ComputeGraph):
        """A graph that was read from JSON."""

        def build(self) -> None:
            """Take the program and the configs over."""
            for name, config in configs.items():
                getattr(self, name).update(copy.deepcopy(config))
            self.calls.extend(calls)

    return JsonModel


def _call(entry: Any, index: int, file: str) -> Call:
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise graph_error(f'operator {index} must be an object with a "type" and "nodes".', file, None)
    operator = _operator(entry["type"], index, file)
    nodes = entry.get("nodes", {})
    if not isinstance(nodes, dict):
        raise graph_error(f'{operator.name} (operator {index}): "nodes" must be an object.', file, None)
    arguments: dict[str, object] = {}
    for name, node in nodes.items():
        try:
            argument = _argument(node)
        except ValueError as error:
            raise graph_error(f'{operator.name} (operator {index}): "{name}" {error}', file, None) from error
        arguments[name] = argument
    return bind(operator, (), arguments, index, file, None)


def _operator(json_type: str, index: int, file: str) -> type[Operator]:
    by_type = {operator.json_type: operator for operator in public_operators().values()}
    if json_type not in by_type:
        hint = did_you_mean(json_type, by_type)
        raise graph_error(f'operator {index} has the unknown type "{json_type}"{hint}', file, None)
    return by_type[json_type]


def _argument(node: Any) -> object:
    """A node as a call takes it; raises `ValueError` with the rest of a sentence."""
    if not isinstance(node, dict) or not isinstance(node.get("type"), str):
        raise ValueError('must be an object with a "name" and a "type".')
    kind = node["type"]
    if kind in ("constant.float", "constant.int"):
        if "value" not in node:
            raise ValueError(f'is a {kind} without a "value".')
        return node["value"]
    if kind == "weights":
        listed = node.get("weights")
        if not isinstance(listed, list):
            raise ValueError('is of type "weights" and must have "weights", a list.')
        return [_argument(each) for each in listed]
    name = node.get("name")
    if not isinstance(name, str):
        raise ValueError('must have a "name" that is a string.')
    if kind == "data":
        return DataReference(name)
    if kind == "weight":
        return WeightReference(name, _steps(node)) if name else None
    if kind in ("config.float", "config.int"):
        return ConfigReference(name)
    raise ValueError(f'has the unknown type "{kind}"; known are {join_quoted(_NODE_TYPES)}.')


def _steps(node: dict[str, Any]) -> tuple[WeightStep, ...]:
    """What is computed from a weight; raises `ValueError` with the rest of a sentence."""
    steps = node.get("steps", [])
    if not isinstance(steps, list):
        raise ValueError('must have "steps" that are a list.')
    return tuple(map(step_from_json, steps))

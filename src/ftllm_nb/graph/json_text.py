"""A graph as fastllm's JSON, in the form that json_format.py describes and reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import Argument, ConfigReference, DataReference, WeightReference
from ftllm_nb.ops.base import Kind, Parameter

CONFIGS = ("config", "tokenizer_config", "generation_config")
"""What a document has besides the graph, as a `ComputeGraph` has it."""


def json_text(calls: Iterable[Call], configs: Mapping[str, Mapping[str, Any]]) -> str:
    """The calls of a graph, and its `CONFIGS` by name; raises `GraphError` for what JSON cannot express."""
    program = [
        {
            "type": call.operator.json_type,
            "nodes": {
                parameter.name: _node(parameter, call.arguments[parameter.name])
                for parameter in call.operator.parameters
                if not parameter.is_extra or call.arguments[parameter.name] != parameter.default
            },
        }
        for call in calls
    ]
    return json.dumps({"graph": program, **configs}, ensure_ascii=False, default=_plain)


def _node(parameter: Parameter, argument: Argument) -> dict[str, Any]:
    number = "float" if parameter.kind is Kind.FLOAT else "int"
    if isinstance(argument, DataReference):
        return {"name": argument.name, "type": "data"}
    if isinstance(argument, WeightReference):
        steps = {"steps": [step.as_json() for step in argument.steps]} if argument.steps else {}
        return {"name": argument.name, "type": "weight", **steps}
    if isinstance(argument, ConfigReference):
        return {"name": argument.name, "type": f"config.{number}"}
    if parameter.kind is Kind.WEIGHTS and isinstance(argument, tuple):
        return {"name": "", "type": "weights", "weights": [_node(parameter, each) for each in argument]}
    if argument is None:
        return {"name": "", "type": "weight"}
    return {"name": "", "type": f"constant.{number}", "value": argument}


def _plain(value: Any) -> Any:
    """NumPy numbers that a build() put into its config."""
    if hasattr(value, "item"):
        return value.item()
    raise GraphError(f"the config holds {value!r}, which JSON cannot express.")

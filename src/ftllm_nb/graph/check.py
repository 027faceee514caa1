"""Check a recorded graph against its config and its checkpoint, before anything runs.

`check_graph` walks the calls once, in order, and gives every tensor a shape and a type. Compiled kernels
check no bounds: whatever passes here can run. Each error names the operator, its index, the user's line, the
tensors with their shapes, and what was expected.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.call import Call, is_float32
from ftllm_nb.graph.checkpoint_names import (
    check_declared_shapes,
    missing_weight,
    notes_on_biases,
    refuse_left_out,
    unread_tensors,
)
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.inputs import (
    INPUT_NAMES,
    find_max_positions,
    input_type,
    is_cache,
    is_input,
    mixed_tables,
)
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.layer_caches import LayerCaches
from ftllm_nb.graph.nearest import did_you_mean
from ftllm_nb.graph.output import Output
from ftllm_nb.graph.references import Argument, ConfigReference, DataReference, WeightReference
from ftllm_nb.graph.rope import RopeSettings, UnknownTable, table_settings
from ftllm_nb.graph.types import ShapeError
from ftllm_nb.graph.unread_entries import notes_on_unread, refuse_unread
from ftllm_nb.graph.weight_values import TensorHeader, weight_value
from ftllm_nb.ops.base import Kind, Parameter

Answer = TypeVar("Answer")

_LENGTH = re.compile("seq|length|position|ctx")
"""Names of config entries that may be the longest sequence."""
_MOST_FEATURES = 2**31 - 1
"""Numbers that one token may have in a tensor: far more than any model, and sizes in bytes still fit into an int64."""


def check_graph(
    graph: ComputeGraph, tensors: Mapping[str, TensorHeader], max_context: int | None = None
) -> CheckedGraph:
    """The checked form of a graph whose build() has run; raises `GraphError` or `CheckpointError`.

    `tensors`: name to header of the checkpoint's tensors. No weight is loaded. `max_context`: the longest sequence that
    will be asked for, where that is less than the model's.
    """
    return _Checker(graph, tensors, max_context).run()


class _Checker:
    def __init__(self, graph: ComputeGraph, tensors: Mapping[str, TensorHeader], max_context: int | None) -> None:
        self.graph = graph
        self.config = graph.config
        self.tensors = tensors
        longest = _max_positions(graph.config)
        self.max_positions = longest if max_context is None else min(longest, max_context)
        self.rope: dict[str, RopeSettings] = {}
        self.nodes: list[Node] = []
        self.inputs: dict[str, Value] = {}
        self.weights: dict[str, Value] = {}
        self.data: dict[str, Value] = {}
        self.caches = LayerCaches(graph.calls)
        self.output = Output(graph.calls, self.config, tensors)
        self.doubts: dict[tuple[str, str], str] = {}  # by line and words: layers of a loop have one

    def run(self) -> CheckedGraph:
        """Check call by call, then what only the whole graph shows."""
        refuse_unread(self.graph)
        notes = check_declared_shapes(self.graph, self.tensors)
        for call in self.graph.calls:
            self._add(call)
        logits = self.output.logits(self.data)
        read = {*(value.tensor for value in self.weights.values()), *self.graph.passed_over}
        unread = unread_tensors(self.tensors, read)
        refuse_left_out(self.graph, unread, read)
        return CheckedGraph(
            nodes=self.nodes,
            inputs={**self.inputs, **self.caches.values},
            weights=self.weights,
            caches=dict(sorted(self.caches.layers.items())),
            logits=logits,
            vocab_size=self.output.vocab_size(logits),
            max_positions=self.max_positions,
            rope=self.rope,
            config=self.config,
            tokenizer_config=self.graph.tokenizer_config,
            generation_config=self.graph.generation_config,
            unread_tensors=unread,
            notes=[*self.graph.notes, *notes, *self.doubts.values(), *self._unread_data(logits),
                   *self._rope_notes(), *notes_on_biases(self.nodes, unread), *notes_on_unread(self.graph)],
        )

    def _add(self, call: Call) -> None:
        """Infer the types of one call, and make its node and the values it writes."""
        operator = call.operator
        node = Node(operator, {}, {}, {}, call)
        for entry in operator.entries:
            self.config.get(entry)
        for parameter in operator.parameters:
            argument = call.arguments[parameter.name]
            if parameter.is_number:
                node.attributes[parameter.name] = self._number(call, parameter, argument)
            elif parameter.kind is Kind.WEIGHTS:
                node.inputs.update(self._weights(call, parameter, argument))
            elif parameter.kind not in (Kind.OUTPUT, Kind.CACHE, Kind.STATE):
                value = self._value(call, parameter, argument)
                if value is not None:
                    node.inputs[parameter.name] = value
            if parameter.is_written and not operator.changes_nothing:
                _refuse_written_input(call, parameter, argument)
        _refuse_mixed_tables(call)
        self.caches.add(node)
        self.caches.add_states(node, self._asked(node, "state", operator.state_shapes))
        types = self._asked(node, "infer", operator.infer_outputs)
        self.caches.require_heads(node)
        for name in node.products:
            if node.inputs[name].type.rank < 2:
                raise call.error(
                    f'takes a matrix as "{name}", but weight "{node.inputs[name].name}" is {node.inputs[name].type}.'
                )
        if operator.changes_nothing:
            return
        for name, type in types.items():
            reference = call.arguments[name]
            assert isinstance(reference, DataReference)
            if type.dtype != "float32":
                raise call.error(f'writes data "{reference.name}" {type}, but what operators write is float32.')
            if math.prod(size for size in type.shape if isinstance(size, int)) > _MOST_FEATURES:
                raise call.error(f'writes data "{reference.name}" {type}, which is larger than any memory.')
            value = Value(reference.name, type, "data", node)
            node.outputs[name] = self.data[reference.name] = value
        self.nodes.append(node)
        doubt = operator.doubt({**{name: value.type for name, value in node.inputs.items()}, **node.attributes})
        if doubt:
            self.doubts.setdefault((call.where, doubt), str(call.error(f"{doubt}.")))

    def _asked(self, node: Node, method: str, ask: Callable[[dict[str, Any]], Answer]) -> Answer:
        """What a method of the operator answers to the types of what it reads."""
        arguments: dict[str, Any] = {
            parameter.name: None
            for parameter in node.operator.parameters
            if parameter.is_read and not parameter.is_many
        }
        arguments.update({name: value.type for name, value in node.inputs.items()})
        try:
            return ask({**arguments, **node.attributes})
        except ShapeError as error:
            raise node.call.error(f"{error}: {_describe(node)}{self._config_hint(error)}.") from error
        except Exception as error:
            sentence = node.call.failure(method, error)
            if sentence is None:
                raise
            raise sentence from error

    def _config_hint(self, error: ShapeError) -> str:
        """`; config.json has hidden_size = 896` for entries that have one of the sizes that disagree."""
        sizes = {size for size in error.sizes if isinstance(size, int) and size > 1}
        entries = [
            f"{name} = {number}"
            for name, number in self.config.items()
            if isinstance(number, int) and not isinstance(number, bool) and number in sizes
        ]
        return f"; config.json has {', '.join(entries[:4])}" if entries else ""

    def _number(self, call: Call, parameter: Parameter, argument: Argument) -> int | float | tuple[int, ...]:
        """A constant's value; those that JSON graphs take from the config are looked up."""
        if not isinstance(argument, ConfigReference):
            assert isinstance(argument, (int, float, tuple))
            return argument  # type: ignore[return-value]  # a tuple of weights is no number's argument
        number = self.config.get(argument.name)
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise call.error(
                f'takes "{parameter.name}" from config["{argument.name}"], and {number!r} is not a number.'
            )
        if not is_float32(number):
            raise call.error(f'takes "{parameter.name}" from config["{argument.name}"], and {number} is not a float32.')
        if parameter.kind is Kind.FLOAT:
            return float(number)
        if not float(number).is_integer():
            raise call.error(
                f'takes "{parameter.name}" from config["{argument.name}"], and {number} is not a whole number.'
            )
        return int(number)

    def _value(self, call: Call, parameter: Parameter, argument: Argument) -> Value | None:
        if isinstance(argument, WeightReference):
            return self._weight(call, parameter, argument)
        if isinstance(argument, DataReference):
            if parameter.only is not None and argument.name != parameter.only:
                raise call.error(
                    f'takes only data["{parameter.only}"] as "{parameter.name}", but got data "{argument.name}".'
                )
            return self._data(call, parameter, argument.name)
        return None

    def _data(self, call: Call, parameter: Parameter, name: str) -> Value:
        """The value that a data name means now."""
        if name in self.data:
            return self.data[name]
        if is_cache(name):
            raise call.error(f'takes data for "{parameter.name}", but "{name}" is a cache.')
        if is_input(name):
            try:
                return self._input(name)
            except UnknownTable as error:
                raise call.error(f'reads data["{name}"] as "{parameter.name}", but {error}') from None
        for later in self.graph.calls[call.index :]:
            if any(
                written.is_written and later.arguments[written.name] == DataReference(name)
                for written in later.operator.parameters
            ):
                raise call.error(
                    f'reads data "{name}" as "{parameter.name}", which is written only later, by '
                    f"{later.operator.name} (operator {later.index}) at {later.where}."
                )
        known = [*self.data, *INPUT_NAMES]
        raise call.error(
            f'reads data "{name}" as "{parameter.name}", which no operator has written'
            + did_you_mean(name, known)
        )

    def _input(self, name: str) -> Value:
        if name not in self.inputs:
            self.inputs[name] = Value(name, input_type(name, self.max_positions, self._rope), "input")
        return self.inputs[name]

    def _rope(self, name: str) -> RopeSettings:
        if name not in self.rope:
            self.rope[name] = table_settings(self.config, self.max_positions, name)
        return self.rope[name]

    def _rope_notes(self) -> list[str]:
        return list(dict.fromkeys(note for table in self.rope.values() for note in table.notes))

    def _weight(self, call: Call, parameter: Parameter, reference: WeightReference) -> Value | None:
        """A weight's value; None for an optional one that the checkpoint lacks."""
        name = reference.name
        if name not in self.tensors:
            if parameter.kind is Kind.OPTIONAL_WEIGHT:
                return None
            tied = self.output.tied_embedding(call, parameter, name)
            if tied is None:
                raise self.output.no_head(call, parameter, name, self.data) or missing_weight(
                    call, parameter, name, self.tensors
                )
            if not reference.steps:
                return tied
            reference = dataclasses.replace(reference, name=tied.tensor)
        if reference.text not in self.weights:
            self.weights[reference.text] = weight_value(call, reference, self.tensors[reference.name])
        value = self.weights[reference.text]
        if parameter.embeds and DataReference("inputIds") in call.arguments.values():
            if parameter.sizes:  # else a table beside the model's embedding
                self.output.add_embedding(call, parameter, value)
        elif parameter.embeds and value.type.rank:
            # A table of positions: the context ends where it does.
            self.max_positions = min(self.max_positions, value.type.size(0))
        return value

    def _weights(self, call: Call, parameter: Parameter, argument: Argument) -> dict[str, Value]:
        """The values of a list of weights, by the names that a node has for them."""
        found = {}
        for number, reference in enumerate(argument if isinstance(argument, tuple) else ()):
            assert isinstance(reference, WeightReference)
            value = self._weight(call, parameter, reference)
            assert value is not None
            found[f"{parameter.name}{number}"] = value
        return found

    def _unread_data(self, logits: Value) -> list[str]:
        """Sentences on data that is written and never read: often a misspelt name. One for each line."""
        read = {value for node in self.nodes for value in node.inputs.values()} | {logits}
        unread = {
            (node.call.where, value.name): f"{node.call.where}: nothing reads data "
            f'"{value.name}", which {node.operator.name} (operator {node.call.index}) writes.'
            for node in self.nodes
            for value in node.outputs.values()
            if value not in read
        }
        return list(unread.values())


def _refuse_mixed_tables(call: Call) -> None:
    """Raise `GraphError` for a rotation by cosines as sines, or by sines and cosines of two kinds of layer."""
    given = [call.arguments.get(name) for name in ("sin", "cos")]
    sin, cos = (each.name if isinstance(each, DataReference) else "" for each in given)
    problem = mixed_tables(sin, cos)
    if problem is not None:
        raise call.error(problem)


def _refuse_written_input(call: Call, parameter: Parameter, argument: Argument) -> None:
    assert isinstance(argument, DataReference)
    if is_input(argument.name):
        raise call.error(
            f'writes data "{argument.name}" as "{parameter.name}", but that is an input: choose another.'
        )


def _describe(node: Node) -> str:
    """The tensors of a node: `input is data "x" [1, tokens, 8] float32, weight is …`."""
    parts = [
        f'{name} is {"" if value.kind == "weight" else "data "}"{value.name}" {value.type}'
        for name, value in node.inputs.items()
        if not is_cache(value.name) and (name.endswith("0") or node.operator.parameter(name).kind is not Kind.WEIGHTS)
    ]
    return ", ".join(parts)


def _max_positions(config: Mapping[str, Any]) -> int:
    found = find_max_positions(config)
    if found is None:
        lengths = [name for name, value in config.items() if isinstance(value, int) and _LENGTH.search(name)]
        example = f'config["{lengths[0]}"]' if lengths else "4096"
        raise GraphError(
            "the longest sequence is unknown: there is neither max_positions nor max_position_embeddings in "
            f'config.json; assign config["max_positions"] = {example} in build().'
        )
    return found

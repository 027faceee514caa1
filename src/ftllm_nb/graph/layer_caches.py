"""What a graph keeps of a sequence: the caches of its layers, into which one call stores and which later ones may read,
and the states of single calls."""

from __future__ import annotations

import dataclasses

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.inputs import cache_layer, is_cache
from ftllm_nb.graph.ir import STATE, LayerCache, Node, Value
from ftllm_nb.graph.references import DataReference
from ftllm_nb.graph.types import Symbol, TensorType
from ftllm_nb.ops.base import Kind, Parameter
from ftllm_nb.ops.reach import Reach


class LayerCaches:
    """Collects the caches and states of the calls, in order. `layers`: by number; `values`: by name.

    `calls`: all of the graph's, for errors that name a later one.
    """

    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls
        self._storing: dict[str, Call] = {}
        self.layers: dict[int, LayerCache] = {}
        self.values: dict[str, Value] = {}

    def add(self, node: Node) -> None:
        """Give a node its caches, with types from the rows that it stores; raises `GraphError`.

        One that stores nothing takes the caches of an earlier node.
        """
        call = node.call
        parameters = [parameter for parameter in node.operator.parameters if parameter.kind is Kind.CACHE]
        names = [self._name(call, parameter) for parameter in parameters]
        if not names:
            return
        if len(names) > 2:
            raise call.error(
                "must take one cache of a layer, or two, first that of its keys, then that of its values."
            )
        rows = [str(parameter.holds) for parameter in parameters]
        stored = [node.inputs[row] for row in rows if row in node.inputs]
        if 0 < len(stored) < len(names):
            raise call.error(
                f"stores {rows[0]} or {rows[1]} alone: give both, or None for both to read what an earlier one stored."
            )
        if stored:
            self._claim(call, names)
        layer = cache_layer(names[0])
        assert layer is not None
        if layer != cache_layer(names[-1]):
            raise call.error(f'takes the caches of two layers, "{names[0]}" and "{names[1]}".')
        reach = node.operator.reach(node.attributes)
        if stored:
            found = self._stored(call, layer, names, stored, reach)
        else:
            found = self._earlier(call, layer, names)
            self.layers[layer] = dataclasses.replace(found, reach=found.reach.united(reach))
        for parameter, value in zip(parameters, found.stored, strict=True):
            node.inputs[parameter.name] = value

    def require_heads(self, node: Node) -> None:
        """Raise `GraphError` unless the rows that a node stores are those of all tokens, in heads."""
        for parameter in node.operator.parameters:
            row = node.inputs.get(str(parameter.holds))
            if row is not None and (row.type.rank != 4 or row.type.shape[:2] != (1, Symbol.TOKENS)):
                raise node.call.error(
                    f'stores {parameter.holds}, data "{row.name}" {row.type}, in the cache {parameter.name}, which '
                    "takes [1, tokens, heads, headDim]: ExpandHead makes that."
                )

    def add_states(self, node: Node, shapes: dict[str, tuple[int, ...]]) -> None:
        """Give a node its states, of these shapes by parameter; raises `GraphError`."""
        for parameter in node.operator.parameters:
            if parameter.kind is Kind.STATE:
                late = next((value for value in node.inputs.values() if value.type.shape[1:2] == (Symbol.ROWS,)), None)
                if late is not None:
                    raise node.call.error(
                        f'keeps a state and reads data "{late.name}" {late.type}, in which only the last tokens are '
                        "left: it must come before SplitLastTokenStates."
                    )
                name = self._name(node.call, parameter)
                self._claim(node.call, [name])
                value = Value(name, TensorType((Symbol.SEQUENCES, *shapes[parameter.name])), STATE)
                self.values[name] = node.inputs[parameter.name] = value

    def _name(self, call: Call, parameter: Parameter) -> str:
        argument = call.arguments[parameter.name]
        assert isinstance(argument, DataReference)
        name = argument.name
        if not is_cache(name):
            raise call.error(
                f'takes a cache for "{parameter.name}", such as data["pastKey."][i], but got data "{name}".'
            )
        if cache_layer(name) is None:
            raise call.error(f'takes the cache "{name}", whose name lacks the number of its layer.')
        return name

    def _claim(self, call: Call, names: list[str]) -> None:
        """Note that this call stores into caches of these names, as no other does."""
        for name in names:
            if name in self._storing:
                earlier = self._storing[name]
                raise call.error(
                    f'takes the cache "{name}", which {earlier.operator.name} (operator {earlier.index}) at '
                    f"{earlier.where} has already; each layer has its own, and one that reads it stores nothing."
                )
            self._storing[name] = call

    def _stored(self, call: Call, layer: int, names: list[str], rows: list[Value], reach: Reach) -> LayerCache:
        """New caches, into which this call stores."""
        if layer in self.layers:
            raise call.error(f"takes {_shown(names)}, but layer {layer} is in use already.")
        for name, row in zip(names, rows, strict=True):
            self.values[name] = Value(name, TensorType((Symbol.CACHED, *row.type.shape[2:])), "input")
        values = [self.values[name] for name in names]
        found = LayerCache(layer, values[0], values[1] if len(names) > 1 else None, reach)
        self.layers[layer] = found
        return found

    def _earlier(self, call: Call, layer: int, names: list[str]) -> LayerCache:
        """The caches that an earlier call stores into, under the same names."""
        found = self.layers.get(layer)
        earlier = [] if found is None else [value.name for value in found.stored]
        if found is not None and names == earlier:
            return found
        what = f"reads {_shown(names)} and stores nothing, but "
        if found is not None:
            raise call.error(f"{what}layer {layer} stores {_shown(earlier)}.")
        for later in self._calls[call.index + 1 :]:
            if all(DataReference(name) in later.arguments.values() for name in names):
                raise call.error(
                    f"{what}{later.operator.name} (operator {later.index}) at {later.where}, which stores into them, "
                    "comes only later."
                )
        raise call.error(f"{what}no operator stores into them before.")


def _shown(names: list[str]) -> str:
    """The names of caches, as a sentence's part."""
    quoted = " and ".join(f'"{name}"' for name in names)
    return f"the cache{'s' if len(names) > 1 else ''} {quoted}"

"""Something is not there: an activation, or a softcap."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.operators import public_operators
from ftllm_nb.graph.references import Argument, DataReference
from ftllm_nb.verification.causes.numbers import flat_config
from ftllm_nb.verification.trial import Change, Ground, one_call

RANK = 40
_ACTIVATIONS = ("Silu", "Gelu", "GeluNew", "Relu", "SoftMax", "Sigmoid")


def changes(ground: Ground) -> Iterator[Change]:
    """Operators put before each suspect, and behind the one that makes what parted."""
    node = ground.parting.site.node
    for call in ground.suspects:
        for value in (each.inputs if (each := ground.node_of(call)) else {}).values():
            if value.kind == "data":
                yield from _before(call, value.name)
    if ground.parting.site.role == "output":
        value = ground.parting.site.value
        for sentence, added in _softcaps(ground, node.call, DataReference(value.name)):
            yield one_call(sentence, node.call, lambda each, added=added: [each, added])  # type: ignore[misc]


def _before(call: Call, name: str) -> Iterator[Change]:
    source = DataReference(name)
    for activation in _ACTIVATIONS:
        axis: dict[str, Argument] = {"axis": -1} if activation == "SoftMax" else {}
        arguments: dict[str, Argument] = {"input": source, "output": source, **axis}

        def put(each: Call, activation: str = activation, arguments: dict[str, Argument] = arguments) -> list[Call]:
            return [made(each, activation, **arguments), each]

        yield one_call(f'{activation} of data["{name}"] is missing before {call.operator.name}', call, put)


def _softcaps(ground: Ground, call: Call, source: DataReference) -> Iterator[tuple[str, Call]]:
    for entry, number in flat_config(ground.built.config).items():
        if "cap" in entry and number > 0:
            yield (
                f'a SoftCap of data["{source.name}"] is missing: {number:g}, config.json\'s {entry}, makes them equal',
                made(call, "SoftCap", input=source, cap=float(number), output=source),
            )


def made(call: Call, name: str, **arguments: Argument) -> Call:
    """A call of another operator, as if it were written where this one is."""
    return dataclasses.replace(call, operator=public_operators()[name], arguments=arguments)

"""Another operator of the same kind: an activation, a gate, a norm."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.operators import public_operators
from ftllm_nb.graph.references import Argument, DataReference, WeightReference
from ftllm_nb.verification.trial import Change, Ground, one_call

RANK = 20
_ALIKE = (
    ("Silu", "Gelu", "GeluNew", "Relu", "Relu2", "Sigmoid", "TanH", "SoftMax", "Softplus", "Exp"),
    ("Swiglu", "Geglu", "CrossSwiglu"),
)
"""Operators that may be taken for each other, with the same first and last tensors."""


def changes(ground: Ground) -> Iterator[Change]:
    """Each suspect as what else it may be."""
    for call in ground.suspects:
        for group in _ALIKE:
            if call.operator.name in group:
                for name in group:
                    if name != call.operator.name:
                        yield one_call(
                            f"{name} instead of {call.operator.name} makes them equal",
                            call,
                            lambda each, name=name: [_as(each, name)],  # type: ignore[misc]
                        )
        if call.operator.name == "RMSNorm":
            yield one_call("LayerNorm instead of RMSNorm makes them equal", call, lambda each: [_layer_norm(each)])
        if call.operator.name == "LayerNorm":
            yield one_call("RMSNorm instead of LayerNorm makes them equal", call, lambda each: [_rms_norm(each)])
        if call.operator.name in ("Swiglu", "Geglu"):
            node = ground.node_of(call)
            if node is not None:
                half = node.inputs["input"].type.size(-1) // 2
                yield one_call(
                    f"gate and up exchanged in what {call.operator.name} reads: the first half is up here",
                    call,
                    lambda each, half=half: _exchanged(each, half),  # type: ignore[misc]
                )


def _as(call: Call, name: str) -> Call:
    operator = public_operators()[name]
    arguments = {
        each.name: call.arguments.get(each.name, each.default) for each in operator.parameters
    }
    return dataclasses.replace(call, operator=operator, arguments=arguments)


def _layer_norm(call: Call) -> Call:
    weight = call.arguments["weight"]
    bias = WeightReference(weight.name.removesuffix("weight") + "bias") if isinstance(weight, WeightReference) else None
    arguments = {"input": call.arguments["input"], "gamma": weight, "beta": bias, "axis": -1,
                 "output": call.arguments["output"], "eps": call.arguments["eps"]}  # fmt: skip
    return dataclasses.replace(call, operator=public_operators()["LayerNorm"], arguments=arguments)


def _rms_norm(call: Call) -> Call:
    arguments = {"input": call.arguments["input"], "weight": call.arguments["gamma"], "eps": call.arguments["eps"],
                 "output": call.arguments["output"], "offset": 0.0}  # fmt: skip
    return dataclasses.replace(call, operator=public_operators()["RMSNorm"], arguments=arguments)


def _exchanged(call: Call, half: int) -> list[Call]:
    """The gate of exchanged halves."""
    operators = public_operators()
    first, second, both = (DataReference(f"verify.{name}") for name in ("first", "second", "both"))

    def made(name: str, **arguments: Argument) -> Call:
        return dataclasses.replace(call, operator=operators[name], arguments=arguments)

    source = call.arguments["input"]
    return [
        made("Split", input=source, axis=-1, start=0, end=half, output=first),
        made("Split", input=source, axis=-1, start=half, end=2 * half, output=second),
        made("Cat", input0=second, input1=first, axis=-1, output=both),
        dataclasses.replace(call, arguments={**call.arguments, "input": both}),
    ]

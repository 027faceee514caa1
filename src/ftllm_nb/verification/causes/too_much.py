"""Something is there that should not be: a rotation, a norm, an activation, a factor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.operators import public_operators
from ftllm_nb.verification.trial import Change, Ground, one_call

RANK = 35


def changes(ground: Ground) -> Iterator[Change]:
    """Each suspect left out."""
    for call in ground.suspects:
        node = ground.node_of(call)
        if node is None or len(node.outputs) != 1:
            continue
        written = next(iter(node.outputs.values()))
        read = next((name for name, value in node.inputs.items() if value.kind == "data"), None)
        if read is None or node.inputs[read].type.shape != written.type.shape:
            continue
        yield one_call(
            f"without {call.operator.name} they are equal",
            call,
            lambda each, read=read: _left_out(each, read),  # type: ignore[misc]
        )


def _left_out(call: Call, read: str) -> list[Call]:
    (written,) = call.operator.written()
    source, target = call.arguments[read], call.arguments[written]
    if source == target:
        return []
    arguments = {"input": source, "v": 0.0, "output": target}
    return [dataclasses.replace(call, operator=public_operators()["Add"], arguments=arguments)]

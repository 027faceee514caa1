"""A norm of other data is not there, and what another place reads is read here: branches stand side by side that should
follow each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import DataReference
from ftllm_nb.verification.causes.missing_norm import eps_of_config, norm
from ftllm_nb.verification.trial import Change, Ground, one_call, with_arguments

RANK = 45
_MOST_SOURCES = 4
_NORMED = "verify.normed"


def changes(ground: Ground) -> Iterator[Change]:
    """Norms, with a weight that nothing reads or with none, of data that was written shortly before."""
    for call in ground.suspects:
        node = ground.node_of(call)
        for parameter, value in node.inputs.items() if node is not None else ():
            given = call.arguments[parameter]
            if value.kind == "data" and isinstance(given, DataReference) and parameter not in call.operator.written():
                size = value.type.size(-1)
                for source in _sources(ground, call, given.name, value.type.shape):
                    yield from _of(ground, call, parameter, given.name, source, size)


def _of(ground: Ground, call: Call, parameter: str, name: str, source: str, size: int) -> Iterator[Change]:
    unread = [each for each in ground.graph.unread_tensors if tuple(ground.tensors[each].shape) == (size,)]
    weights = [*(each for each in unread if each.endswith("weight")), None]
    kinds = (("RMSNorm", 0.0), ("LayerNorm", 0.0), ("RMSNorm", 1.0))
    for weight, eps, (operator, offset) in itertools.product(weights, eps_of_config(ground), kinds):
        if weight is None and offset:
            continue
        added = norm(ground, call, source, _NORMED, weight, operator, eps, offset)
        by = f'by weight["{weight}"]' if weight is not None else "without a weight"
        yield one_call(
            f'a norm is missing: {call.operator.name} reads data["{name}"] as {parameter}; {operator} of '
            f'data["{source}"] {by} makes them equal',
            call,
            lambda each, added=added: [added, with_arguments(each, **{parameter: DataReference(_NORMED)})],  # type: ignore[misc]
        )


def _sources(ground: Ground, call: Call, name: str, shape: tuple[object, ...]) -> list[str]:
    """Data of that shape, the one that was written last first."""
    found: dict[str, None] = {name: None}
    position = next(index for index, each in enumerate(ground.calls) if each is call)
    for each in reversed(ground.calls[:position]):
        node = ground.node_of(each)
        for value in node.outputs.values() if node is not None else ():
            if value.type.shape == shape:
                found.setdefault(value.name)
        if len(found) >= _MOST_SOURCES:
            break
    return list(found)

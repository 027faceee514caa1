"""A norm is not there: one whose weight nothing reads."""

from __future__ import annotations

from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import DataReference, WeightReference
from ftllm_nb.verification.causes.missing import made
from ftllm_nb.verification.causes.numbers import flat_config
from ftllm_nb.verification.trial import Change, Ground

RANK = 5


def changes(ground: Ground) -> Iterator[Change]:
    """Each such norm before each suspect."""
    for call in ground.suspects:
        node = ground.node_of(call)
        for value in node.inputs.values() if node is not None else ():
            if value.kind == "data":
                yield from _before(ground, call, value.name, value.type.size(-1))


def _before(ground: Ground, call: Call, name: str, size: int) -> Iterator[Change]:
    for tensor in ground.graph.unread_tensors:
        if tuple(ground.tensors[tensor].shape) != (size,) or not tensor.endswith("weight"):
            continue
        for eps in eps_of_config(ground):
            for operator, offset in (("RMSNorm", 0.0), ("RMSNorm", 1.0), ("LayerNorm", 0.0)):
                yield Change(
                    f'a norm is missing: {operator} of data["{name}"] by weight["{tensor}"] before '
                    f"{call.operator.name} makes them equal",
                    call,
                    {call.index: [norm(ground, call, name, name, tensor, operator, eps, offset), call]},
                )


def norm(
    ground: Ground, call: Call, source: str, target: str, tensor: str | None, operator: str, eps: float, offset: float
) -> Call:
    """A norm of `source`, as if it were written where the call is; `tensor`: its weight, None for none."""
    read, written = DataReference(source), DataReference(target)
    weight = None if tensor is None else WeightReference(tensor)
    if operator == "RMSNorm":
        return made(call, operator, input=read, weight=weight, eps=eps, output=written, offset=offset)
    beta = "" if tensor is None else f"{tensor.removesuffix('weight')}bias"
    return made(call, operator, input=read, gamma=weight, axis=-1, output=written, eps=eps,
                beta=WeightReference(beta) if beta in ground.tensors else None)  # fmt: skip


def eps_of_config(ground: Ground) -> list[float]:
    """What norms may add to the mean square, the config's own numbers first."""
    found = [float(number) for entry, number in flat_config(ground.built.config).items() if "eps" in entry]
    return list(dict.fromkeys([*found, 1e-5, 1e-6]))

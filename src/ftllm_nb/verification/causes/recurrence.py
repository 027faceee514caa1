"""Of a recurrent layer something is not there: the length of queries and keys, or the rates of decay."""

from __future__ import annotations

from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import DataReference, WeightReference
from ftllm_nb.verification.causes.missing import made
from ftllm_nb.verification.causes.missing_norm import eps_of_config
from ftllm_nb.verification.trial import Change, Ground, one_call

RANK = 12
_RULES = ("RecurrentGatedDeltaRule",)
_RATES = ("A_log", "dt_bias")
"""How the names of tensors end that make a decay."""


def changes(ground: Ground) -> Iterator[Change]:
    """A length before each rule that wants it, and a decay in place of what has one input."""
    suspects = ground.suspects
    for call in suspects:
        if call.operator.name in _RULES:
            yield from _lengths(ground, call)
    unread = {end: [name for name in ground.graph.unread_tensors if name.endswith(end)] for end in _RATES}
    if all(unread.values()):
        for call in suspects:
            yield from _decays(ground, call, *(unread[end][0] for end in _RATES))


def _lengths(ground: Ground, call: Call) -> Iterator[Change]:
    """Of queries, of keys, or of both, of which neither alone makes the place equal."""
    for names in (("q",), ("k",), ("q", "k")):
        sources = [call.arguments[name] for name in names]
        shown = " and ".join(f'data["{each.name}"]' for each in sources if isinstance(each, DataReference))
        for eps in dict.fromkeys([1e-6, *eps_of_config(ground)]):

            def before(each: Call, names: tuple[str, ...] = names, eps: float = eps) -> list[Call]:
                read = [each.arguments[name] for name in names]
                return [*(made(each, "L2Norm", input=source, eps=eps, output=source) for source in read), each]

            yield one_call(
                f"L2Norm of {shown} is missing before {call.operator.name}; eps {eps:g} makes them equal", call, before
            )


def _decays(ground: Ground, call: Call, rates: str, bias: str) -> Iterator[Change]:
    node = ground.node_of(call)
    source, target = call.arguments.get("input"), call.arguments.get("output")
    if node is None or not isinstance(source, DataReference) or not isinstance(target, DataReference):
        return
    if node.inputs["input"].type.size(-1) != ground.tensors[bias].shape[0]:
        return
    arguments = {"input": source, "aLog": WeightReference(rates), "dtBias": WeightReference(bias), "output": target}
    yield Change(
        f'MambaSoftplus by weight["{rates}"] and weight["{bias}"], which nothing reads, instead of '
        f"{call.operator.name} makes them equal",
        call,
        {call.index: [made(call, "MambaSoftplus", **arguments)]},
    )

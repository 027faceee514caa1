"""A constant is another one: an eps, a scale, a window, a factor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ftllm_nb.graph.call import Call
from ftllm_nb.ops.base import Kind, Parameter
from ftllm_nb.verification.trial import Change, Edit, Ground, one_call, with_arguments

RANK = 10

_LIKE = {
    "eps": ("eps", "epsilon"),
    "scale": ("query_pre_attn_scalar", "attention_multiplier", "attn_scale", "scal"),
    "window": ("sliding_window", "window"),
    "chunk": ("chunk",),
    "softcap": ("softcap",),
    "cap": ("softcap", "cap"),
    "alpha": ("multiplier", "scal", "alpha"),
    "v": ("multiplier", "scal"),
    "topk": ("per_tok", "topk", "top_k", "moe_k"),
    "routeScale": ("scal",),
    "limit": ("limit",),
    "groups": ("n_group",),
    "topGroups": ("topk_group",),
    "beta": ("beta",),
    "length": ("original_max_position", "floor_scale"),
}
"""Parts of the names of config.json's entries that a parameter may stand for."""
_THEIRS = ", which is the reference's,"
_USUAL: dict[str, tuple[float, ...]] = {
    "eps": (1e-5, 1e-6, 1e-8, 1e-12, 1e-3),
    "window": (0,), "chunk": (0,), "softcap": (0.0,), "alpha": (1.0, -1.0), "v": (1.0,), "offset": (0.0, 1.0),
    "needNorm": (0, 1, 2), "gateType": (0, 1, 2, 3, 4, 5), "maskType": (0, 2), "routeScale": (1.0,),
    "positionStride": (1,), "groups": (1,), "topGroups": (1,), "groupTop": (1, 2), "axis": (-1,),
    "gateFirst": (0, 1), "activation": (0, 1),
}  # fmt: skip


def changes(ground: Ground) -> Iterator[Change]:
    """Each number of each suspect, as config.json or custom has it."""
    for call in ground.suspects:
        node = ground.node_of(call)
        if node is None:
            continue
        for parameter in call.operator.parameters:
            if parameter.kind not in (Kind.FLOAT, Kind.INT):
                continue
            old = node.attributes[parameter.name]
            for number, why in _numbers(ground, call, parameter.name, old).items():
                is_whole = parameter.kind is Kind.INT
                if number == old or (is_whole and (not float(number).is_integer() or number < 0)):
                    continue
                new: float = int(number) if is_whole else float(number)
                yield one_call(
                    f"{parameter.name} of {call.operator.name}: here it is {old:g}; {new:g}{why} makes them equal",
                    call,
                    _edit(ground, parameter, old, new, why == _THEIRS),
                )


def _edit(ground: Ground, parameter: Parameter, old: float, new: float, is_theirs: bool) -> Edit:
    """The new number in calls that have the old one; each its own, where the reference has one for each."""
    name = parameter.name

    def edit(call: Call) -> list[Call]:
        node = ground.node_of(call)
        if node is None or node.attributes[name] != old:
            return [call]
        own = attention_numbers(ground, call).get(name, old) if is_theirs else new
        return [with_arguments(call, **{name: int(own) if parameter.kind is Kind.INT else own})]

    return edit


def _numbers(ground: Ground, call: Call, name: str, old: float) -> dict[float, str]:
    """Numbers that it may be, each with where it is from."""
    found: dict[float, str] = {}
    known = attention_numbers(ground, call).get(name)
    if known is not None:
        found[known] = _THEIRS
    config = flat_config(ground.built.config)
    for entry, number in config.items():
        if any(part in entry.lower() for part in _LIKE.get(name, ())):
            found.setdefault(number, f", config.json's {entry},")
            if name in ("window", "chunk"):
                found.setdefault(number + 1, f", one more than config.json's {entry},")
                found.setdefault(number - 1, f", one less than config.json's {entry},")
            elif number > 0:
                found.setdefault(number**-0.5, f", {entry} ** -0.5,")
                found.setdefault(1 / number, f", 1 / {entry},")
                found.setdefault(number**0.5, f", {entry} ** 0.5,")
    for number in _USUAL.get(name, ()):
        found.setdefault(number, "")
    if name in ("scale", "v", "alpha", "qScale"):
        found.update({number: why for number, why in _scales(ground, call).items() if number not in found})
        for number, why in ((old**0.5 if old > 0 else 1.0, " (its square root)"), (old * old, " (its square)"),
                            (1 / old if old else 1.0, " (its reciprocal)"), (-old, "")):  # fmt: skip
            found.setdefault(number, why)
    if name in ("rotaryDim", "part"):
        found.update({number: why for number, why in _turning(ground, call).items() if number not in found})
    return found


def _scales(ground: Ground, call: Call) -> dict[float, str]:
    node, found = ground.node_of(call), {1.0: ""}
    if node is not None and "q" in node.inputs:
        dim = node.inputs["q"].type.size(-1)
        found.update({dim**-0.5: f", the head size {dim} ** -0.5,", 1 / dim: f", 1 / {dim},"})
    for entry in ("hidden_size", "head_dim", "num_hidden_layers"):
        size = ground.built.config.get(entry)
        if isinstance(size, int) and size > 0:
            found.setdefault(math.sqrt(size), f", {entry} ** 0.5,")
            found.setdefault(size**-0.5, f", {entry} ** -0.5,")
    return found


def _turning(ground: Ground, call: Call) -> dict[float, str]:
    node = ground.node_of(call)
    found: dict[float, str] = {}
    if node is not None:
        dim = node.inputs["input"].type.size(-1)
        found = {dim: ", the whole head,", dim // 2: ", half of the head,", dim // 4: ", a quarter of the head,"}
        for settings in ground.graph.rope.values():
            found.setdefault(settings.dim, ", as many as the tables turn,")
    return found


def attention_numbers(ground: Ground, call: Call) -> dict[str, float]:
    """What the reference's attention has for the numbers of this call."""
    kind = ("FusedAttention", "LatentAttention")
    attentions = [each for each in ground.calls if each.operator.name in kind]
    if call.operator.name not in kind:
        return {}
    number = next(index for index, each in enumerate(attentions) if each is call)
    known = ground.reference.attention
    return known[number] if number < len(known) else {}


def flat_config(config: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a config, those in objects by their path."""
    found: dict[str, float] = {}
    for name, value in dict.items(config):
        if isinstance(value, bool):
            continue
        if isinstance(value, (int, float)):
            found[f"{prefix}{name}"] = value
        elif isinstance(value, dict):
            found.update(flat_config(value, f"{prefix}{name}."))
    return found

"""What is special about a model, as its tensors show it: a sentence for each peculiarity, beside Llama's form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ftllm_nb.checkpoint import TensorInfo
from ftllm_nb.graph.types import format_shape

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Mark:
    """A peculiarity: what tensors' names show it, and what it is."""

    names: re.Pattern[str]
    text: str


MARKS = tuple(
    Mark(re.compile(pattern), text)
    for pattern, text in (
        (r"\.(q|k|query|key)_?(layer)?_?norm\.|\.(query|key)_layernorm\.|[qk]_layernorm\.norms\.",
         "queries and keys are normalized"),
        (r"\.(qkv_proj|query_key_value|c_attn|Wqkv|qkv)\.", "queries, keys and values are made by one matrix"),
        (r"\.key_value\.", "keys and values are made by one matrix"),
        (r"\.gate_up_proj(\.|$)(?<!experts)", "gate and up are one matrix"),
        (r"\.kv_a_proj", "keys and values are made of a latent vector"),
        (r"\.sinks$", "each head of attention has a sink"),
        (r"(\.experts?\.|\.experts\b|input_linear|output_linear)", "tokens are sent to a few of many experts"),
        (r"\.shared_(experts?|mlp)\b", "and all of them go through shared experts"),
        (r"e_score_correction_bias|expert_bias", "a vector is added to the router's scores for choosing alone"),
        (r"per_layer_", "each layer has an embedding of its own"),
        (r"altup_", "several streams flow from layer to layer"),
        (r"laurel", "a branch of low rank stands beside attention"),
        (r"\bwpe\.|position_embeddings?\.|embed_positions\.", "positions have an embedding that is added"),
        (r"\bg_proj\.|self_attn\.gate_proj\.", "attention's result has a gate"),
        (r"layer_scalar", "each layer's result is multiplied by a number"),
    )
)  # fmt: skip
_BRANCH_NORM = re.compile(r"norm[^.]*\.weight$")
_IN_LAYER = re.compile(r"^(.*?\.)(\d+)\.(.*)$")


def mark_of(names: Iterable[str], tensors: Mapping[str, TensorInfo]) -> tuple[str, str] | None:
    """The peculiarity that one of these tensors shows, and the tensor with its shape; None where none does."""
    for name in names:
        for mark in MARKS:
            if name in tensors and mark.names.search(name):
                return mark.text, shown(name, tensors)
    return None


def shown(name: str, tensors: Mapping[str, TensorInfo]) -> str:
    """A tensor's name and shape."""
    return f"{name} {format_shape(tuple(tensors[name].shape))}"


def peculiarities(tensors: Mapping[str, TensorInfo], is_tied: bool) -> list[str]:
    """A line for each thing in which the tensors differ from Llama's, with the tensor that shows it."""
    first: dict[str, str] = {}
    for name in tensors:
        found = mark_of([name], tensors)
        if found is not None:
            first.setdefault(*found)
    lines = [f"{text}: {tensor}" for text, tensor in first.items()]
    norms = _layer_norms(tensors)
    if norms and len(norms) != 2:
        names = ", ".join(norm.removesuffix(".weight") for norm in norms)
        lines.append(f"{len(norms)} norm{'s' if len(norms) > 1 else ''} around a layer's branches: {names}")
    biases = list(dict.fromkeys(_NUMBER.sub("N", name) for name in tensors if name.endswith(".bias")))
    if biases:
        more = f" and {len(biases) - 4} more kinds" if len(biases) > 4 else ""
        lines.append(f"biases: {', '.join(biases[:4])}{more}")
    if is_tied:
        lines.append("the embedding makes the logits, too: there is no tensor for that")
    return lines


def _layer_norms(tensors: Mapping[str, TensorInfo]) -> list[str]:
    """The norms that a layer has directly, not those within its attention."""
    found: dict[str, None] = {}
    for name in tensors:
        match = _IN_LAYER.match(name)
        if match is not None and _BRANCH_NORM.search(match[3]) and match[3].count(".") == 1:
            found[match[3]] = None
    return list(found)

"""What tensors of a decoder are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """Parts of tensors' names, joined by dots; Llama's where a model does not say otherwise.

    `embedding`, `layers` and `norm` follow the model's prefix, `head` stands alone; the others follow a layer's number,
    `out` that of attention, `gate`, `up` and `down` that of the feed-forward. A norm that a layer lacks is None.
    """

    embedding: str = "embed_tokens"
    layers: str = "layers"
    norm: str = "norm"
    head: str = "lm_head"
    attention: str = "self_attn"
    out: str = "o_proj"
    feed_forward: str = "mlp"
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    before_attention: str | None = "input_layernorm"
    after_attention: str | None = None
    before_feed_forward: str | None = "post_attention_layernorm"
    after_feed_forward: str | None = None


def names_as_saved(prefix: str, names: Names, saved: Collection[str]) -> tuple[str, Names]:
    """The prefix and the names with which a checkpoint's tensors begin, where they are not the usual ones.

    A model that was saved without its head has no prefix, as the first GPT-2s; one whose head has a name of its own may
    have it under the usual one.
    """
    embedding, head, usual = (f"{name}.weight" for name in (names.embedding, names.head, Names.head))
    if f"{prefix}{embedding}" not in saved and embedding in saved:
        prefix = ""
    if head not in saved and usual in saved:
        names = dataclasses.replace(names, head=Names.head)
    return prefix, names

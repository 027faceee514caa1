"""At which tokens an answer ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

END_OF_TURN_TOKENS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<|endofturn|>",
    "[|endofturn|]",
    "<|return|>",
    "<_end>",
)
"""Tokens that chat models are trained to end their turn with; they count where the template writes them."""


def end_token_ids(
    config: dict[str, Any],
    generation_config: dict[str, Any],
    eos_token: str | None,
    prompt_literals: str,
    token_to_id: Callable[[str], int | None],
) -> frozenset[int]:
    """Ids that end an answer: all that the configs, the tokenizer and the chat template name.

    Many folders name only the end of a document and leave out the end of a turn, or the reverse; stopping at
    either is right for a conversation. `prompt_literals` is the source of the templates or the prompt pieces.
    """
    ids = {*_ids(generation_config.get("eos_token_id")), *_ids(config.get("eos_token_id"))}
    names = [token for token in END_OF_TURN_TOKENS if token in prompt_literals]
    if eos_token is not None:
        names.append(eos_token)
    ids.update(token_id for name in names if (token_id := token_to_id(name)) is not None)
    return frozenset(ids)


def _ids(value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, int) and not isinstance(one, bool) and one >= 0]

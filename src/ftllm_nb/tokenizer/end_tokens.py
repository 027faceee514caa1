"""At which tokens an answer ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import shorten

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
    TokenizerError for an eos_token_id that is neither an id nor a list of ids: answers would not end.
    """
    ids = {*_ids(generation_config, "generation_config.json"), *_ids(config, "config.json")}
    names = [token for token in END_OF_TURN_TOKENS if token in prompt_literals]
    if eos_token is not None:
        names.append(eos_token)
    ids.update(token_id for name in names if (token_id := token_to_id(name)) is not None)
    return frozenset(ids)


def _ids(source: dict[str, Any], where: str) -> list[int]:
    value = source.get("eos_token_id")
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in values):
        raise TokenizerError(f"{where}: eos_token_id must be a token's id or a list of ids, got {shorten(value)}.")
    return [one for one in values if one >= 0]

"""fastllm's prompt pieces: how a conversation becomes a prompt for a model without a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import shorten
from ftllm_nb.tokenizer.messages import without_surrogates


class PromptPart(NamedTuple):
    """A stretch of a prompt; `trusted` where the model's author wrote it, not a message."""

    text: str
    trusted: bool


@dataclass(frozen=True)
class PromptPieces:
    """prompt = pre_prompt + (user_role + question + bot_role + answer + history_sep) a round."""

    pre_prompt: str = ""
    user_role: str = ""
    bot_role: str = ""
    history_sep: str = ""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PromptPieces | None:
        """The pieces that a config (after a graph's build) names; None where it names none."""
        values: dict[str, str] = {}
        for name in ("pre_prompt", "user_role", "bot_role", "history_sep"):
            value = config.get(name)
            if value is None:
                continue
            if not isinstance(value, str):
                raise TokenizerError(f'config["{name}"] must be a string, got {shorten(value)}.')
            values[name] = without_surrogates(value)
        return cls(**values) if any(values.values()) else None

    def parts(self, messages: Sequence[dict[str, Any]], add_generation_prompt: bool) -> list[PromptPart]:
        """The prompt as alternating pieces and message texts.

        System messages follow pre_prompt. Any role but "system" and "assistant" speaks as the user. With
        `add_generation_prompt` the prompt ends in bot_role, unless the last message is the assistant's.
        """
        parts = [PromptPart(self.pre_prompt, True)]
        for message in messages:
            content = PromptPart(message["content"], False)
            if message["role"] == "system":
                parts += [content, PromptPart(self.history_sep, True)]
            elif message["role"] == "assistant":
                parts += [PromptPart(self.bot_role, True), content, PromptPart(self.history_sep, True)]
            else:
                parts += [PromptPart(self.user_role, True), content]
        if add_generation_prompt and messages[-1]["role"] != "assistant":
            parts.append(PromptPart(self.bot_role, True))
        return [part for part in parts if part.text]

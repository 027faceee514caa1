"""What a model reads: texts and conversations as prompts, and prompts as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftllm_nb.llm.requests import History, Query, conversation, require_text, thinking_variable

if TYPE_CHECKING:
    from ftllm_nb.tokenizer import Tokenizer


class Prompts:
    """The part of a `Model` that its tokenizer alone answers; nothing runs. `system_prompt` may be set anew."""

    def __init__(self, tokenizer: Tokenizer, system_prompt: str | None) -> None:
        self._tokenizer = tokenizer
        self.system_prompt = system_prompt

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids and back."""
        return self._tokenizer

    def encode(self, text: str) -> list[int]:
        """The token ids of a text; nothing is put around it."""
        return self.tokenizer.encode_text(require_text(text))

    def apply_chat_template(
        self,
        conversation: Sequence[dict[str, Any]],
        add_generation_prompt: bool = True,
        tokenize: bool = False,
        tools: Sequence[Any] | None = None,
        **variables: Any,
    ) -> str | list[int]:
        """A conversation's prompt as text, or with `tokenize` as token ids. `variables` go to the template."""
        if tokenize:
            return self.tokenizer.apply_chat_template(conversation, add_generation_prompt, tools, **variables)
        return self.tokenizer.render_chat(conversation, add_generation_prompt, tools, **variables)

    def get_prompt(self, query: Query, history: History | None = None, *, enable_thinking: bool | None = None) -> str:
        """The prompt as text, to read."""
        messages = conversation(query, history, self.system_prompt)
        return self.tokenizer.render_chat(messages, **thinking_variable(enable_thinking))

    def prompt_ids(
        self,
        query: Query,
        history: History | None = None,
        enable_thinking: bool | None = None,
        add_generation_prompt: bool = True,
    ) -> list[int]:
        """The token ids that `stream_response` would run for this query."""
        messages = conversation(query, history, self.system_prompt)
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt, **thinking_variable(enable_thinking))

    def get_input_token_len(self, query: Query, history: History | None = None) -> int:
        """How many tokens the prompt of this query has."""
        return len(self.prompt_ids(query, history))

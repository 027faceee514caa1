"""Answers that go on where another one ended: the last message of a request is what there is of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from ftllm_nb.answers.family import Thinking
from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.tokenizer import Tokenizer


class ContinuedFields(BaseModel):
    """As transformers and vLLM name them; `add_generation_prompt` says nothing more here, and may not contradict."""

    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None

    def take_begun(self, messages: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Takes the answer to go on with out of `messages`; None where a new one is asked for. ApiError for no text."""
        if not self.continue_final_message:
            if self.add_generation_prompt is False:
                message = "without continue_final_message an answer must begin: leave it out."
                raise ApiError(400, message, param="add_generation_prompt")
            return None
        if self.add_generation_prompt:
            message = "an answer that goes on does not begin: leave add_generation_prompt out."
            raise ApiError(400, message, param="add_generation_prompt")
        last = messages[-1]
        if last["role"] != "assistant" or last.get("tool_calls") or not last["content"].strip():
            message = "continue_final_message needs an assistant's message with a text, and no calls, at the end."
            raise ApiError(400, message, param="messages")
        return messages.pop()


def check_free(constraints: Sequence[Constraint | None]) -> None:
    """ApiError where the answer must have a form: that would begin in the middle of it."""
    if any(constraint is not None for constraint in constraints):
        message = "a continued answer excludes a response format and a forced call."
        raise ApiError(400, message, param="continue_final_message")


def begun_ids(tokenizer: Tokenizer, begun: dict[str, Any], opened: Thinking | None) -> list[int]:
    """What follows the prompt of a new answer: the thinking that the prompt `opened`, closed, and the text so far."""
    thought: list[int] = []
    if opened is not None:
        reasoning = begun.get("reasoning_content")
        thought = tokenizer.encode_text(reasoning) if isinstance(reasoning, str) else []
        thought = thought + tokenizer.encode_prompt(f"{opened.closing}\n\n")
    return thought + tokenizer.encode_text(begun["content"])

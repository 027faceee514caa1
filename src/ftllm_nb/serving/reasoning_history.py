"""What the assistant thought in earlier turns, under the names that chat templates read it by."""

from __future__ import annotations

import re
from typing import Any

from ftllm_nb.serving.api_errors import ApiError

GIVEN = ("reasoning_content", "reasoning", "thinking")
"""Names in requests: clients send back what they got."""
EITHER = "Cannot pass both content and thinking"
"""What gpt-oss' template says of a message that holds calls, a text and thinking."""


def add_reasoning(message: dict[str, Any], template_source: str, where: str) -> None:
    """Give a message's thinking the names that the template reads. ApiError for thinking that is no text."""
    found = next((name for name in GIVEN if message.get(name)), None)
    reasoning = message[found] if found is not None else ""
    if not isinstance(reasoning, str):
        raise ApiError(400, f"{found} must be a text.", param=f"{where}.{found}")
    for name in GIVEN:
        message.pop(name, None)
    if message["role"] != "assistant" or not reasoning:
        return
    if message.get("tool_calls") and message.get("content") and EITHER in template_source:
        reasoning, message["content"] = f"{reasoning}\n{message['content']}", ""
    message["reasoning_content"] = reasoning
    for name in GIVEN[1:]:
        if re.search(rf"\.{name}\b|\[['\"]{name}['\"]\]|get\(['\"]{name}['\"]", template_source):
            message[name] = reasoning

"""What the assistant thought in earlier turns, under the names that chat templates read it by."""

from __future__ import annotations

import re
from typing import Any

NAMES = ("reasoning_content", "reasoning", "thinking")
"""What templates call it. Clients send back the names that they got."""
EITHER = "Cannot pass both content and thinking"
"""What gpt-oss' template says of a message that holds calls, a text and thinking."""


def with_reasoning(message: dict[str, Any], reasoning: str, template_source: str) -> dict[str, Any]:
    """An assistant's message with its thinking, which is "" for none, as a template of that source reads it."""
    copy = {name: value for name, value in message.items() if name not in NAMES}
    if not reasoning:
        return copy
    if copy.get("tool_calls") and copy.get("content") and EITHER in template_source:
        reasoning, copy["content"] = f"{reasoning}\n{copy['content']}", ""
    copy["reasoning_content"] = reasoning
    for name in NAMES[1:]:
        if re.search(rf"\.{name}\b|\[['\"]{name}['\"]\]|get\(['\"]{name}['\"]", template_source):
            copy[name] = reasoning
    return copy

"""OpenAI's messages as chat templates expect them."""

from __future__ import annotations

import json
from typing import Any

from ftllm_nb.answers.history import NAMES, with_reasoning
from ftllm_nb.serving.api_errors import ApiError

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


def template_messages(messages: list[dict[str, Any]], template_source: str) -> list[dict[str, Any]]:
    """Copies with texts in place of parts, arguments of calls as objects, and roles that the template knows."""
    return [_message(message, f"messages.{index}", template_source) for index, message in enumerate(messages)]


def _message(message: dict[str, Any], where: str, template_source: str) -> dict[str, Any]:
    role = message.get("role")
    if role not in ROLES:
        raise ApiError(400, f"the role must be one of {', '.join(ROLES)}.", param=f"{where}.role")
    if role == "developer" and "developer" not in template_source:
        role = "system"
    copy = {**message, "role": role, "content": _text(message.get("content"), f"{where}.content")}
    calls = message.get("tool_calls")
    if calls is None:
        copy.pop("tool_calls", None)
    else:
        copy["tool_calls"] = _calls(calls, f"{where}.tool_calls")
    found = next((name for name in NAMES if message.get(name)), NAMES[0])
    reasoning = message.get(found) or ""
    if not isinstance(reasoning, str):
        raise ApiError(400, f"{found} must be a text.", param=f"{where}.{found}")
    return with_reasoning(copy, reasoning if role == "assistant" else "", template_source)


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ApiError(400, "content must be a text or a list of parts.", param=where)
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, dict) else None
        if kind not in TEXT_PARTS or not isinstance(text, str):
            raise ApiError(400, "this model reads text only: a part must have type text.", param=where)
        texts.append(text)
    return "".join(texts)


def _calls(calls: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(calls, list):
        raise ApiError(400, "tool_calls must be a list.", param=where)
    copies = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ApiError(400, "a tool call must have a function with a name.", param=where)
        copies.append({**call, "function": {**function, "arguments": _arguments(function.get("arguments"))}})
    return copies


def _arguments(value: Any) -> Any:
    """Templates write arguments as JSON themselves; what is no JSON object stays the text that it is."""
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return parsed if isinstance(parsed, dict) else value
    return {} if value is None else value

"""OpenAI's messages, checked: texts in place of parts, and today's forms in place of earlier ones.

What of them the model's chat template takes, and how, the tokenizer finds out (tokenizer/template_fit.py).
"""

from __future__ import annotations

from typing import Any

from ftllm_nb.answers.history import NAMES, with_reasoning
from ftllm_nb.serving.api_errors import ApiError

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
ASKING = ("system", "developer", "user")
"""Roles whose messages are nothing without content; an assistant's may be a call, a tool may have no result."""
TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


def template_messages(messages: list[dict[str, Any]], template_source: str) -> list[dict[str, Any]]:
    """Copies with texts in place of parts, calls in place of a call, results in place of functions' messages. ApiError
    for what is no message, and for a result of a call that nobody made."""
    made = [_message(message, f"messages.{index}", template_source) for index, message in enumerate(messages)]
    _check_results(made)
    return made


def _check_results(messages: list[dict[str, Any]]) -> None:
    """A result that names its call must name one that stands before it, unless calls before it have no names, or there
    are none (see `lost_results`). One without a name is the result of the call whose turn it is."""
    ids: set[str] = set()
    has_unnamed = False
    for index, message in enumerate(messages):
        for call in message.get("tool_calls", ()):
            call_id = call.get("id")
            has_unnamed |= not call_id
            ids |= {call_id} if call_id else set()
        call_id = message.get("tool_call_id") if message["role"] == "tool" else None
        where = f"messages.{index}.tool_call_id"
        if call_id is not None and not isinstance(call_id, str):
            raise ApiError(400, "tool_call_id must be a text.", param=where)
        if call_id and ids and call_id not in ids and not has_unnamed:
            known = f"{call_id!r} is the id of no call before this message: those are {', '.join(sorted(ids))}"[:300]
            raise ApiError(400, f"{known}; name one of them, or leave tool_call_id out.", param=where)


def lost_results(messages: list[dict[str, Any]]) -> list[str]:
    """A sentence for results before which there is no call at all: an application cut its history there."""
    first = next((index for index, each in enumerate(messages) if each.get("tool_calls")), len(messages))
    lost = [index for index, each in enumerate(messages[:first]) if each["role"] == "tool" and each.get("tool_call_id")]
    if not lost:
        return []
    return [f"messages.{lost[0]} is the result of a call that stands in no message before it: the model sees it alone."]


def _message(message: dict[str, Any], where: str, template_source: str) -> dict[str, Any]:
    role = message.get("role")
    if role not in ROLES:
        raise ApiError(400, f"the role must be one of {', '.join(ROLES)}.", param=f"{where}.role")
    if role in ASKING and message.get("content") is None:
        raise ApiError(400, f"a message of the role {role} must have content: a text.", param=f"{where}.content")
    copy = {**message, "content": _text(message.get("content"), f"{where}.content")}
    if role == "function":
        copy["role"] = "tool"
    calls, call = message.get("tool_calls"), copy.pop("function_call", None)
    if calls is None and call is not None:
        calls = [{"type": "function", "function": call}]
    copy.pop("tool_calls", None)
    if calls is not None:
        _check_calls(calls, f"{where}.tool_calls")
    if calls:
        copy["tool_calls"] = calls
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


def _check_calls(calls: Any, where: str) -> None:
    if not isinstance(calls, list):
        raise ApiError(400, "tool_calls must be a list.", param=where)
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        call_id = call.get("id") if isinstance(call, dict) else None
        if call_id is not None and not isinstance(call_id, str):
            raise ApiError(400, "the id of a tool call must be a text.", param=where)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ApiError(400, "a tool call must have a function with a name.", param=where)

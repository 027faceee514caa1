"""Messages and tools as a chat template takes them: its shape is known from probes (template_probe.py).

Nothing that a message says is left out: what a template would drop or refuse is said in another way, in which the model
reads it. What changes how well a model may follow is told as a warning.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Sequence
from typing import Any, NamedTuple

from ftllm_nb.tokenizer.messages import text_content
from ftllm_nb.tokenizer.template_probe import SHORT_ID, Messages, TemplateShape, in_parts
from ftllm_nb.tokenizer.tool_text import CallSpelling, call_text, result_text, tools_text

NO_TOOLS = "the model has no chat template that prints tools: they are described in the system message."
_BETWEEN = "\n\n"
"""Between texts that become one message."""
_LETTERS = string.ascii_letters + string.digits


class Fitted(NamedTuple):
    """What the template is given, and sentences for whoever asked."""

    messages: Messages
    tools: Sequence[Any] | None
    warnings: list[str]


def is_plain(messages: Messages, tools: Sequence[Any] | None) -> bool:
    """Whether there is nothing that templates differ in: texts of users and assistants."""
    by_texts = all(
        message["role"] in ("user", "assistant") and isinstance(message.get("content"), str) for message in messages
    )
    return by_texts and not tools and not any("tool_calls" in message for message in messages)


def fit(
    messages: Messages, tools: Sequence[Any] | None, shape: TemplateShape, spelling: CallSpelling
) -> Fitted:
    """`messages` as `checked_messages` gives them; `spelling`: of calls that have to be written as text."""
    warnings: list[str] = []
    fitted = [dict(message) for message in messages]
    if not shape.parts:
        fitted = [{**each, "content": text_content(each)} if "content" in each else each for each in fitted]
    if not shape.developer:
        fitted = [{**each, "role": "system"} if each["role"] == "developer" else each for each in fitted]
    given = tools
    if given and shape.tools is None:
        fitted = _with_system_text(fitted, tools_text(given, spelling))
        warnings.append(NO_TOOLS)
        given = None
    elif given and shape.tools == "bare":
        given = [tool.get("function", tool) if isinstance(tool, dict) else tool for tool in given]
    fitted = _calls(fitted, shape, spelling)
    fitted = _systems(fitted, shape)
    if not shape.repeated_roles:
        fitted = _joined_neighbours(fitted)
    if not shape.texts:
        fitted = [{**each, "content": in_parts(each.get("content"))} for each in fitted]
    return Fitted(fitted, given, warnings)


def _with_system_text(messages: Messages, text: str) -> Messages:
    """With a text at the end of the first system message, or in one of its own."""
    if messages and messages[0]["role"] == "system":
        return [_with_text(messages[0], "", text), *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def _systems(messages: Messages, shape: TemplateShape) -> Messages:
    """System messages where the template has room for them: at the beginning, as one, or in the next user message."""
    if shape.systems_anywhere:
        return messages
    fitted: Messages = []
    waiting = ""
    for message in messages:
        if message["role"] == "system":
            text = text_content(message)
            if shape.system and not fitted:
                fitted.append(message)
            elif shape.system and fitted[-1]["role"] == "system":
                fitted[-1] = _with_text(fitted[-1], "", text)
            else:
                waiting = _joined(waiting, text)
            continue
        if waiting and message["role"] == "user":
            message, waiting = _with_text(message, waiting, ""), ""
        elif waiting:
            fitted.append({"role": "user", "content": waiting})
            waiting = ""
        fitted.append(message)
    return [*fitted, {"role": "user", "content": waiting}] if waiting else fitted


def _joined_neighbours(messages: Messages) -> Messages:
    """Messages of one role that follow each other as one; calls and results stay apart."""
    fitted: Messages = []
    for message in messages:
        last = fitted[-1] if fitted else {"role": None}
        alike = message["role"] == last["role"] in ("user", "assistant")
        if alike and "tool_calls" not in last and "tool_calls" not in message:
            fitted[-1] = _with_text(last, "", text_content(message))
        else:
            fitted.append(message)
    return fitted


def _calls(messages: Messages, shape: TemplateShape, spelling: CallSpelling) -> Messages:
    """Calls and results in the template's own shape, or as text where it has none."""
    fitted: Messages = []
    names: dict[str, str] = {}
    waiting: list[str] = []
    for message in messages:
        if message.get("tool_calls"):
            calls = [_with_id(call, len(fitted), number) for number, call in enumerate(message["tool_calls"])]
            waiting = [call["id"] for call in calls]
            names.update({call["id"]: call["function"].get("name", "") for call in calls})
            fitted += _answers({**message, "tool_calls": calls}, shape, spelling)
        elif message["role"] in ("tool", "function"):
            call_id = message.get("tool_call_id") or (waiting[0] if waiting else "")
            waiting = [each for each in waiting if each != call_id]
            named = {"tool_call_id": call_id} if call_id else {}
            fitted.append(_result({**message, "role": "tool", **named}, shape, names.get(call_id, "")))
        else:
            fitted.append({key: value for key, value in message.items() if key != "tool_calls"})
    if shape.calls and not shape.parallel_calls:
        fitted = _one_call_each(fitted)
    if not (shape.long_ids and shape.tiny_ids):
        fitted = [_with_allowed_ids(message, shape) for message in fitted]
    return fitted


def _answers(message: dict[str, Any], shape: TemplateShape, spelling: CallSpelling) -> Messages:
    """An answer with calls, as one message or as two."""
    text = message.get("content") or ""
    if not shape.calls:
        spelled = "\n".join(call_text(call, spelling) for call in message["tool_calls"])
        rest = {key: value for key, value in message.items() if key != "tool_calls"}
        return [{**rest, "content": _joined(text_content({"content": text}), spelled, "\n")}]
    calls = [_with_arguments(call, shape.arguments_are_text) for call in message["tool_calls"]]
    called = {**message, "tool_calls": calls}
    if not text:
        return [{**called, "content": shape.empty_content}]
    if shape.content_beside_calls:
        return [called]
    rest = {key: value for key, value in message.items() if key not in ("tool_calls", "content")}
    return [{**rest, "content": text}, {"role": message["role"], "content": shape.empty_content, "tool_calls": calls}]


def _result(message: dict[str, Any], shape: TemplateShape, name: str) -> dict[str, Any]:
    if not shape.results:
        return {"role": "user", "content": result_text(text_content(message))}
    return {"name": name, **message} if shape.result_names else message


def _one_call_each(messages: Messages) -> Messages:
    """Each call in a message of its own, with its result behind it."""
    fitted: Messages = []
    at = 0
    while at < len(messages):
        message = messages[at]
        at += 1
        calls = message.get("tool_calls") or []
        if len(calls) < 2:
            fitted.append(message)
            continue
        results: Messages = []
        while at < len(messages) and (messages[at]["role"] == "tool"):
            results.append(messages[at])
            at += 1
        for number, call in enumerate(calls):
            is_said = number > 0 and message["content"]
            fitted.append({**message, "tool_calls": [call], **({"content": ""} if is_said else {})})
            fitted += [result for result in results if result.get("tool_call_id") == call["id"]]
        known = {call["id"] for call in calls}
        fitted += [result for result in results if result.get("tool_call_id") not in known]
    return fitted


def _with_id(call: dict[str, Any], turn: int, number: int) -> dict[str, Any]:
    return call if call.get("id") else {**call, "id": f"call{turn % 1000:03}{number % 100:02}"}


def _with_arguments(call: dict[str, Any], as_text: bool) -> dict[str, Any]:
    """With arguments as JSON text or as an object; what is no object stays the text that it is."""
    function = call["function"]
    arguments = function.get("arguments")
    if as_text and not isinstance(arguments, str):
        arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
    elif not as_text and isinstance(arguments, str):
        try:
            parsed = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            parsed = None
        arguments = parsed if isinstance(parsed, dict) else arguments
    elif not as_text and arguments is None:
        arguments = {}
    return {**call, "function": {**function, "arguments": arguments}}


def _with_allowed_ids(message: dict[str, Any], shape: TemplateShape) -> dict[str, Any]:
    """With ids that the template allows; equal ids stay equal."""
    if "tool_calls" in message:
        calls = [{**call, "id": _allowed_id(call["id"], shape)} for call in message["tool_calls"]]
        return {**message, "tool_calls": calls}
    if "tool_call_id" in message:
        return {**message, "tool_call_id": _allowed_id(message["tool_call_id"], shape)}
    return message


def _allowed_id(call_id: str, shape: TemplateShape) -> str:
    fits = len(call_id) == SHORT_ID and all(letter in _LETTERS for letter in call_id)
    if fits or (shape.tiny_ids if len(call_id) < SHORT_ID else shape.long_ids):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "replace")).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:SHORT_ID])


def _with_text(message: dict[str, Any], before: str, behind: str) -> dict[str, Any]:
    """With texts around the message's own; its parts stay parts."""
    content = message.get("content", "")
    if isinstance(content, list):
        first = [{"type": "text", "text": before + _BETWEEN}] if before else []
        last = [{"type": "text", "text": _BETWEEN + behind}] if behind else []
        return {**message, "content": [*first, *content, *last]}
    return {**message, "content": _joined(_joined(before, content), behind)}


def _joined(first: str, second: str, between: str = _BETWEEN) -> str:
    return between.join(text for text in (first, second) if text)

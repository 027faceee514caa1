"""Calls of functions in an answer's text, in the forms that Qwen's and Llama's models write.

Qwen:  <tool_call>\\n{"name": …, "arguments": {…}}\\n</tool_call>, any number of them, after some text or none.
Llama: the whole answer is {"name": …, "parameters": {…}}, or several with ; between them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ftllm_nb.answers.call_form import CallForm

BEGIN, END = "<tool_call>", "</tool_call>"


QWEN = CallForm(BEGIN + "\n", "\n" + END)
LLAMA = CallForm("", "", key="parameters")


@dataclass(frozen=True)
class ToolCall:
    """`arguments`: JSON, as text."""

    name: str
    arguments: str

    def in_openai_form(self, index: int) -> dict[str, Any]:
        """With an id of its own."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"index": index, "id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def form_of(template_source: str) -> CallForm:
    """The form that a chat template teaches."""
    if BEGIN not in template_source and ("<|python_tag|>" in template_source or '"parameters"' in template_source):
        return LLAMA
    return QWEN


def call_of(text: str, names: Collection[str]) -> ToolCall | None:
    """The call that a JSON text spells, of one of the known functions."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("name"), str) or data["name"] not in names:
        return None
    arguments = data.get("arguments", data.get("parameters", {}))
    if isinstance(arguments, str):
        return ToolCall(data["name"], arguments)
    return ToolCall(data["name"], json.dumps(arguments, ensure_ascii=False))


class ToolCallParser:
    """Takes an answer's text piece by piece; gives what is text, and each call when it is whole.

    `forced`: the whole answer is one call, without what stands around it.
    """

    def __init__(self, form: CallForm, names: Collection[str], forced: bool) -> None:
        self._form = form
        self._names = names
        self._whole = forced or form is LLAMA
        self._held = ""
        self._is_text = False
        self._after_call = False

    def push(self, text: str) -> tuple[str, list[ToolCall]]:
        """(text, calls) that are certain now."""
        self._held += text
        if self._is_text:
            return self._take(len(self._held)), []
        if self._whole:
            start = self._held.lstrip()
            if start and not start.startswith("{"):
                self._is_text = True
                return self._take(len(self._held)), []
            return "", []
        return self._take_tagged()

    def finish(self) -> tuple[str, list[ToolCall]]:
        """What is left when the answer has ended; what spells no call is text."""
        rest = self._take(len(self._held))
        if self._whole and not self._is_text:
            parts = [rest] if call_of(rest, self._names) else rest.split(";")
            calls = [call_of(part, self._names) for part in parts if part.strip()]
            if calls and all(calls):
                return "", [call for call in calls if call is not None]
        call = call_of(rest.partition(BEGIN)[2], self._names) if not self._whole else None
        return (rest, []) if call is None else (rest.partition(BEGIN)[0], [call])

    def _take_tagged(self) -> tuple[str, list[ToolCall]]:
        content = ""
        calls: list[ToolCall] = []
        while True:
            if self._after_call:
                # Line ends between calls are no text.
                self._held = self._held.lstrip()
                self._after_call = not self._held
            begin = self._held.find(BEGIN)
            if begin < 0:
                content += self._take(len(self._held) - _possible_beginning(self._held, BEGIN))
                return content, calls
            content += self._take(begin)
            end = self._held.find(END)
            if end < 0:
                return content, calls
            spelled = self._take(end + len(END))
            call = call_of(spelled[len(BEGIN) : -len(END)], self._names)
            if call is None:
                content += spelled
            else:
                calls.append(call)
                self._after_call = True

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        return taken


def call_schema(form: CallForm, functions: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON schema of a call of one of the functions, each {"name", "parameters"?}."""
    alternatives = [
        {
            "type": "object",
            "properties": {"name": {"const": function["name"]}, form.key: function.get("parameters") or _ANY},
            "required": ["name", form.key],
            "additionalProperties": False,
        }
        for function in functions
    ]
    return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}


_ANY = {"type": "object"}


def _possible_beginning(text: str, word: str) -> int:
    """How many characters at the text's end may be the beginning of the word."""
    for length in range(min(len(word) - 1, len(text)), 0, -1):
        if word.startswith(text[-length:]):
            return length
    return 0

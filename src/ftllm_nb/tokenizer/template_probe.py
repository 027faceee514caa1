"""What shape of messages a chat template takes, found out by rendering it on small conversations.

A template is a program, and what it does with a role, a call or a tool cannot be read off reliably: so each question is
a conversation with words in it that occur nowhere else, and the answer is which of them come out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

from ftllm_nb.errors import TokenizerError

Messages = list[dict[str, Any]]
Render = Callable[[Messages, "list[Any] | None"], str]
"""The prompt of messages and tools; TokenizerError where the template fails or refuses them."""

MAX_SECONDS = 5.0
"""Of all probes together; questions that are left then are answered by no."""
SHORT_ID = 9
"""Letters and digits of a call's id where a template allows no others: Mistral's."""

_USER, _MORE, _ANSWER = "Quxuser", "Quxmore", "Quxanswer"
_SYSTEM, _SECOND, _LATER = "Quxsystem", "Quxsecond", "Quxlater"
_CALLED, _ALSO_CALLED, _KEY, _VALUE, _RESULT = "qux_called", "qux_also", "qux_key", "quxvalue", "quxresult"
_TOOL = {
    "type": "function",
    "function": {
        "name": "qux_offered",
        "description": "Quxdescription",
        "parameters": {
            "type": "object",
            "properties": {_KEY: {"type": "string", "description": "Quxparameter"}},
            "required": [_KEY],
        },
    },
}
_LONG_ID, _TINY_ID = "call_0123456789abcdef01234567", "c1"


@dataclass(frozen=True)
class TemplateShape:
    """What a template takes. The defaults are those of a template that prints texts by role, and nothing else.

    texts, parts              whether content may be a text, a list of parts
    system                    whether a system message comes out at the beginning
    systems_anywhere          whether any number of them do, wherever they stand
    developer                 whether that role is known beside system
    repeated_roles            whether two messages of a role may follow each other
    tools                     "wrapped" in {"type": "function", "function": …}, "bare", or None: they do not come out
    calls                     whether calls of earlier answers come out
    arguments_are_text        whether a call's arguments are JSON text; else an object
    empty_content             the content of a message that is calls alone
    content_beside_calls      whether a text beside calls comes out, and the calls do
    parallel_calls            whether a message may hold several
    results                   whether messages of the role tool come out
    result_names              whether those must hold the function's name
    long_ids, tiny_ids        whether ids of calls may be longer and shorter than SHORT_ID letters and digits
    """

    texts: bool = True
    parts: bool = False
    system: bool = True
    systems_anywhere: bool = True
    developer: bool = False
    repeated_roles: bool = True
    tools: str | None = None
    calls: bool = False
    arguments_are_text: bool = False
    empty_content: str | None = ""
    content_beside_calls: bool = True
    parallel_calls: bool = True
    results: bool = False
    result_names: bool = False
    long_ids: bool = True
    tiny_ids: bool = True


def probe_template(render: Render, source: str) -> TemplateShape:
    """The shape of a template, whose source is used for nothing but the names of roles."""
    probe = _Probe(render)
    texts = probe.shows([_user(_USER)], _USER)
    as_parts = probe.rendered([{"role": "user", "content": [{"type": "text", "text": _USER}]}])
    parts = as_parts is not None and _USER in as_parts and not any(f"{q}{_USER}{q}" in as_parts for q in "'\"")
    probe.in_parts = parts and not texts
    system = probe.shows([_message("system", _SYSTEM), _user(_USER)], _SYSTEM, _USER)
    shape: dict[str, Any] = {
        "texts": texts or not parts,
        "parts": parts,
        "system": system,
        "systems_anywhere": system and probe.shows(
            [_message("system", _SYSTEM), _message("system", _SECOND), _user(_USER), _message("assistant", _ANSWER),
             _message("system", _LATER), _user(_MORE)], _SYSTEM, _SECOND, _LATER
        ),
        "developer": "developer" in source
        and probe.shows([_message("developer", _SYSTEM), _user(_USER)], _SYSTEM, _USER),
        "repeated_roles": probe.shows([_user(_USER), _user(_MORE)], _USER, _MORE),
        "tools": probe.tools(),
    }  # fmt: skip
    called = probe.calls()
    names_results = "'tool'" in source or '"tool"' in source
    return TemplateShape(**shape, **(called or {"results": names_results and probe.shows_results()}))


class _Probe:
    def __init__(self, render: Render) -> None:
        self._render = render
        self._tools: list[Any] | None = None
        self._deadline = time.monotonic() + MAX_SECONDS
        self.in_parts = False

    def rendered(self, messages: Messages, tools: list[Any] | None = None) -> str | None:
        """None where the template does not take it."""
        if time.monotonic() > self._deadline:
            return None
        if self.in_parts:
            messages = [{**each, "content": in_parts(each.get("content"))} for each in messages]
        try:
            return self._render(messages, tools)
        except TokenizerError:
            return None

    def shows(self, messages: Messages, *words: str) -> bool:
        """Whether all of the words come out."""
        text = self.rendered(messages, self._tools)
        return text is not None and all(word in text for word in words)

    def tools(self) -> str | None:
        """In which form tools come out."""
        for form, tool in (("wrapped", _TOOL), ("bare", _TOOL["function"])):
            for before in ([], [_message("system", _SYSTEM)]):
                text = self.rendered([*before, _user(_USER)], [tool])
                if text is not None and "qux_offered" in text and _USER in text:
                    self._tools = [tool]
                    return form
        return None

    def calls(self) -> dict[str, Any]:
        """What is known of calls and results."""
        found: dict[str, Any] = {}
        # The best of them. Of equals one with an object, which transformers gives, and then the shortest: some
        # templates print an empty answer beside the calls, or "None".
        best = (0, False, 0)
        # Templates that refuse the role tool may still print calls.
        for ending in ([_result(0)], [_user(_MORE)]):
            for as_text, empty in product((False, True), ("", None)):
                answer = {"role": "assistant", "content": empty, "tool_calls": [_call(_CALLED, 0, as_text)]}
                quality, size = self._quality([_user(_USER), answer, *ending])
                if quality and (quality, not as_text, -size) > best:
                    best = quality, not as_text, -size
                    found = {"calls": True, "arguments_are_text": as_text, "empty_content": empty}
            if found:
                break
        return found and {**found, **self._details(found["arguments_are_text"], found["empty_content"])}

    def shows_results(self) -> bool:
        """Whether a result comes out behind an answer that holds no call."""
        return self.shows([_user(_USER), _message("assistant", _ANSWER), _result(0)], _ANSWER, _RESULT)

    def _quality(self, messages: Messages) -> tuple[int, int]:
        """0: the call does not come out, or its arguments as no JSON; 1: its name alone; 2: all of it. And how many
        characters that takes.
        """
        text = self.rendered(messages, self._tools)
        if text is None or _CALLED not in text or f"'{_KEY}'" in text or f'\\"{_KEY}' in text:
            return 0, 0
        return (2 if _VALUE in text else 1), len(text)

    def _details(self, as_text: bool, empty: str | None) -> dict[str, Any]:
        def answer(content: str | None, *names: str, call_id: str | None = None) -> dict[str, Any]:
            calls = [_call(name, number, as_text, call_id) for number, name in enumerate(names)]
            return {"role": "assistant", "content": content, "tool_calls": calls}

        begin = [_user(_USER), answer(empty, _CALLED)]
        results = self.shows([*begin, _result(0)], _CALLED, _RESULT)
        named = not results and self.shows([*begin, {**_result(0), "name": _CALLED}], _CALLED, _RESULT)
        end = [{**_result(0), "name": _CALLED}] if results or named else [_user(_MORE)]
        both = [{**_result(number), **({} if results else {"name": _CALLED})} for number in (0, 1)]
        return {
            "results": results or named,
            "result_names": named,
            "content_beside_calls": self.shows([_user(_USER), answer(_ANSWER, _CALLED), *end], _ANSWER, _CALLED),
            "parallel_calls": self.shows(
                [_user(_USER), answer(empty, _CALLED, _ALSO_CALLED), *(both if results or named else end)],
                _CALLED,
                _ALSO_CALLED,
            ),
            **{
                name: self.shows(
                    [_user(_USER), answer(empty, _CALLED, call_id=call_id), *_with_id(end, call_id)], _CALLED
                )
                for name, call_id in (("long_ids", _LONG_ID), ("tiny_ids", _TINY_ID))
            },
        }


def in_parts(content: Any) -> Any:
    """A text as a list of one part; anything else as it is."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def _user(text: str) -> dict[str, Any]:
    return _message("user", text)


def _call(name: str, number: int, as_text: bool, call_id: str | None = None) -> dict[str, Any]:
    arguments = f'{{"{_KEY}": "{_VALUE}"}}' if as_text else {_KEY: _VALUE}
    return {"id": call_id or _id(number), "type": "function", "function": {"name": name, "arguments": arguments}}


def _result(number: int) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": _id(number), "content": _RESULT}


def _with_id(messages: Messages, call_id: str) -> Messages:
    return [{**each, "tool_call_id": call_id} if "tool_call_id" in each else each for each in messages]


def _id(number: int) -> str:
    return f"quxcall0{number}"

"""One answer of a chat in OpenAI's form, piece by piece: reasoning, content with its tokens, calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftllm_nb.answers.events import Arguments, CallBegins, CallEnds, Content, Event, Reasoning
from ftllm_nb.answers.parser import AnswerParser
from ftllm_nb.engine.request import STOP, Token
from ftllm_nb.serving.text_pieces import Piece

TOOL_CALLS = "tool_calls"


class AnswerDeltas:
    """`new_id`: makes an id for a call; `one_call`: at most one call is told, and what follows it is not.

    `only_calls`: the answer can be nothing else, so that what reads as text is a call that was cut in its name.
    """

    def __init__(
        self, parser: AnswerParser, new_id: Callable[[], str], one_call: bool = False, only_calls: bool = False
    ) -> None:
        self._parser = parser
        self._new_id = new_id
        self._one_call = one_call
        self._only_calls = only_calls
        self._calls = 0
        self._is_open = False
        """Whether a call has begun and not ended."""
        self._has_reasoned = False
        self._tokens: list[tuple[int, int, Token]] = []
        """Tokens of which nobody knows yet what they are, each with the place of its text in the answer."""
        self._length = 0
        self.is_over = False
        """Whether nothing more is wanted: the one call is there."""

    def hear(self, piece: Piece, ended: bool, is_cut: bool) -> tuple[dict[str, Any], list[Token]]:
        """(what is new in the message, the tokens of its content). `ended`: nothing more comes; `is_cut`: the answer
        did not end by itself."""
        end = self._length + len(piece.text)
        self._tokens += [(self._length, end, token) for token in piece.tokens]
        self._length = end
        events = self._parser.push(piece.text)
        if ended:
            events += self._parser.finish(is_cut)
        delta: dict[str, Any] = {}
        tokens: list[Token] = []
        for event in events:
            if not self.is_over and not (self._only_calls and isinstance(event, Content)):
                self._add(delta, event)
                if isinstance(event, Content):
                    tokens += self._tokens_of(event)
        if ended and not self._calls and not self._has_reasoned and not self._only_calls:
            tokens += [token for _, _, token in self._tokens]  # those without text
        return delta, tokens

    def finish_reason(self, reason: str | None) -> str | None:
        """Why the answer ended, as clients are told."""
        return TOOL_CALLS if self.is_over or (self._calls and not self._is_open and reason == STOP) else reason

    def _add(self, delta: dict[str, Any], event: Event) -> None:
        if isinstance(event, Reasoning):
            self._has_reasoned = True
            text = delta.get("reasoning_content", "") + event.text
            delta["reasoning_content"] = delta["reasoning"] = text
        elif isinstance(event, Content):
            delta["content"] = delta.get("content", "") + event.text
        elif isinstance(event, CallBegins):
            call_id = event.id if event.id is not None else self._new_id()
            function = {"name": event.name, "arguments": ""}
            call = {"index": self._calls, "id": call_id, "type": "function", "function": function}
            delta.setdefault(TOOL_CALLS, []).append(call)
            self._calls += 1
            self._is_open = True
        elif isinstance(event, Arguments):
            index = self._calls - 1
            calls = delta.setdefault(TOOL_CALLS, [])
            if not calls:
                calls.append({"index": index, "function": {"arguments": ""}})
            calls[-1]["function"]["arguments"] += event.text
        elif isinstance(event, CallEnds):
            self._is_open = False
            self.is_over = self._one_call

    def _tokens_of(self, content: Content) -> list[Token]:
        """The tokens that this content was made of; earlier ones were something else."""
        later = [each for each in self._tokens if each[0] >= content.end]
        found = [
            token for start, end, token in self._tokens
            if start < content.end and (end > content.start or start == end == content.start)
        ]  # fmt: skip
        self._tokens = later
        return found


def add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Adds a delta to the message that all deltas make up."""
    for key in ("content", "reasoning_content", "reasoning"):
        if key in delta:
            message[key] = (message.get(key) or "") + delta[key]
    for part in delta.get(TOOL_CALLS, ()):
        calls = message.setdefault(TOOL_CALLS, [])
        if part["index"] == len(calls):
            calls.append({key: value for key, value in part.items() if key != "index"})
        else:
            calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]

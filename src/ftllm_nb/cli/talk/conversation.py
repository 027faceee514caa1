"""A conversation: the messages so far, and the next answer as a stream of text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftllm_nb.llm import Model


class Conversation:
    """Asks the model with everything said before.

    `system`: the system message, or None for the chat template's own. `options`: keyword arguments of
    `Model.stream_response` (how to sample). `stopped` says that `stop` was called; who asks clears it before.
    """

    def __init__(self, model: Model, system: str | None, options: dict[str, Any]) -> None:
        self.model = model
        self.system = system
        self.options = options
        self.stopped = False
        self.messages = self.beginning()

    def beginning(self) -> list[dict[str, str]]:
        """The messages that stand before the first question: the system message, where there is one."""
        return [] if self.system is None else [{"role": "system", "content": replace_undecoded(self.system)}]

    def forget(self) -> None:
        """Start anew, and give back the memory that the conversation's keys and values take."""
        self.messages = self.beginning()
        self.model.forget()

    def ask(self, question: str) -> Iterator[str]:
        """The answer, piece by piece; `stop` ends it early.

        The turn becomes part of the conversation when the answer ends, and when it is stopped after its first
        words; not where the model could not answer: ContextLengthError leaves the conversation as it was.
        """
        turn = [*self.messages, {"role": "user", "content": replace_undecoded(question)}]
        answer = ""
        with closing(self.model.stream_response(turn, one_by_one=True, **self.options)) as pieces:
            while not self.stopped and (piece := next(pieces, None)) is not None:
                answer += piece
                yield piece
        if answer or not self.stopped:
            self.messages = [*turn, {"role": "assistant", "content": answer}]

    def stop(self) -> None:
        """End the running answer soon; callable from a signal handler."""
        self.stopped = True
        self.model.stop()


def replace_undecoded(text: str) -> str:
    """The text with U+FFFD in place of lone surrogates, as which Python keeps bytes that are no UTF-8."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)

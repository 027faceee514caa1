"""Answers as the page shows them: the API's own stream, taken from the engine without a request in between."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import Any

from ftllm_nb.serving import request_log
from ftllm_nb.serving.api_errors import as_api_error
from ftllm_nb.serving.chat import ChatAnswer
from ftllm_nb.serving.chat_plan import plan_chat
from ftllm_nb.serving.choices import Choices
from ftllm_nb.serving.page.messages import OPEN, Shown, asked_messages, shown_answer, shown_failure
from ftllm_nb.serving.page.settings import chat_request
from ftllm_nb.serving.page.status import begins_thinking, counts_line
from ftllm_nb.serving.service import Service

UPDATE_SECONDS = 0.05
"""Between two pictures of a growing answer: each is sent through Gradio, which takes a few milliseconds."""
CUT = "ended at the longest length"


async def answer(
    service: Service,
    question: str,
    history: Sequence[Shown],
    system: str,
    given: Sequence[float | None],
    client: str,
    waits_for: Callable[[Choices], AbstractContextManager[None]],
) -> AsyncGenerator[tuple[list[Shown], str], None]:
    """(messages of the answer, the line of counts) as they grow; the last message is a sentence where it failed.

    `given`: numbers in the order of SETTINGS; `client`: see `client_of`; `waits_for`: see `Sessions`.
    Closing this cancels the request.
    """
    notes: dict[str, Any] = {"client": client}
    started = time.monotonic()
    status = 200
    growing = _Growing()
    try:
        body = chat_request(asked_messages(history, question, system), given)
        if await service.in_thread(lambda: begins_thinking(service)):
            growing.text = OPEN
        plan = await service.in_thread(lambda: plan_chat(service, body))
        chat = ChatAnswer(service, body, plan, client)
        with waits_for(chat.choices):
            async with aclosing(chat.chunks(notes)) as chunks:
                async for chunk in chunks:
                    if growing.hear(chunk, service.ready_model().engine.max_context):
                        yield shown_answer(growing.text, is_whole=False), growing.line
        yield shown_answer(growing.text, is_whole=True), growing.line
    except Exception as error:
        found = as_api_error(error)
        status, notes["error"] = found.status, str(found)
        if found.code == "internal_error":
            notes["exception"] = error
        yield shown_failure(growing.text, str(found)), growing.line
    finally:
        scope = {"method": "POST", "path": "/", "notes": notes}
        request_log.write_line(scope, status, time.monotonic() - started)


class _Growing:
    """What there is of an answer, and the line of its counts."""

    def __init__(self) -> None:
        self.text = ""
        self.line = ""
        self._first: float | None = None
        self._shown = 0.0

    def hear(self, chunk: dict[str, Any], context: int) -> bool:
        """Take a chunk of the API's stream; whether it is time to show what there is."""
        now = time.monotonic()
        for choice in chunk["choices"]:
            self.text += choice["delta"].get("content", "")
        if not chunk["usage"]["completion_tokens"]:
            return False
        self._first = self._first if self._first is not None else now
        was_cut = self.line.endswith(CUT) or any(choice["finish_reason"] == "length" for choice in chunk["choices"])
        self.line = counts_line(chunk, now - self._first, context) + (f" · {CUT}" if was_cut else "")
        if now - self._shown < UPDATE_SECONDS:
            return False
        self._shown = now
        return True

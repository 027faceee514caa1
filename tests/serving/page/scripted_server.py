"""`ftllm-nb webui` whose model obeys: `ECHO text` answers text in small pieces, `LONG …` does not end by itself.

Everything else is the program as it is, but for a line in the log that shows each request to the model. Run as a
module, with the command's arguments.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ftllm_nb.cli import main
from ftllm_nb.engine.batching import QueueFullError
from ftllm_nb.serving.chat import ChatAnswer
from ftllm_nb.serving.chat_plan import ChatPlan
from ftllm_nb.serving.page import answers

ECHO, LONG, BUSY = "ECHO ", "LONG", "BUSY"
FAIL = "FAIL"
"""Where an echoed answer breaks off."""
ENDS = {"0": -100.0, "2": -100.0}
"""Biases against the demo model's tokens that end an answer."""
request_of, plan_of = answers.chat_request, answers.plan_chat


class Slow:
    """A constraint that allows everything, after a while."""

    def allowed(self) -> None:
        time.sleep(0.005)

    def accept(self, token_id: int) -> None:
        pass


def noted_request(messages: list[dict[str, Any]], given: Any) -> Any:
    body = request_of(messages, given)
    print(json.dumps({"request": body.model_dump(exclude_none=True)}), file=sys.stderr, flush=True)
    if str(messages[-1]["content"]).startswith(LONG):
        return body.model_copy(update={"logit_bias": ENDS, "max_tokens": 900})
    return body


def slow_plan(service: Any, body: Any) -> ChatPlan:
    question = str(body.messages[-1]["content"])
    if question.startswith(BUSY):
        raise QueueFullError("256 requests wait already: try again later.")
    plan = plan_of(service, body)
    if question.startswith(LONG):
        plan.constraints = [Slow()]
    return plan


class ObedientAnswer(ChatAnswer):
    """The real answer's chunks, with another text where the question asks for it."""

    async def chunks(self, notes: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        question = str(self._body.messages[-1]["content"])
        async with aclosing(super().chunks(notes)) as chunks:
            async for chunk in chunks:
                for choice in chunk["choices"] if question.startswith(ECHO) else ():
                    choice["delta"].pop("content", None)
                    if choice["finish_reason"] is not None:
                        async for piece in echoed(question.removeprefix(ECHO)):
                            part = {**choice, "delta": {"content": piece}, "finish_reason": None}
                            yield {**chunk, "choices": [part]}
                yield chunk


async def echoed(text: str) -> AsyncGenerator[str, None]:
    whole, _, rest = text.partition(FAIL)
    for start in range(0, len(whole), 40):
        await asyncio.sleep(0.01)
        yield whole[start : start + 40]
    if rest:
        raise RuntimeError("a defect, as the question asked for")


if __name__ == "__main__":
    answers.chat_request = noted_request
    answers.plan_chat = slow_plan
    answers.ChatAnswer = ObedientAnswer  # type: ignore[misc]
    sys.exit(main(["webui", *sys.argv[1:]]))

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
from ftllm_nb.serving import application
from ftllm_nb.serving.chat import ChatAnswer

ECHO, LONG, BUSY = "ECHO ", "LONG", "BUSY"
REASON, CALL = "REASON ", "CALL"
"""What an echoed answer thinks before it begins; a call of a function in its place."""
FAIL = "FAIL"
"""Where an echoed answer breaks off."""
ENDS = {"0": -100.0, "2": -100.0}
"""Biases against the demo model's tokens that end an answer."""
plan_of = application.plan_chat


class Slow:
    """A constraint that allows everything, after a while."""

    def allowed(self, left: int) -> None:
        time.sleep(0.005)

    def accept(self, token_id: int) -> None:
        pass


def obedient_plan(service: Any, body: Any) -> Any:
    print(json.dumps({"request": body.model_dump(exclude_none=True)}), file=sys.stderr, flush=True)
    question = str(next(each["content"] for each in reversed(body.messages) if each["role"] == "user"))
    if question.startswith(BUSY):
        raise QueueFullError("256 requests wait already: try again later.")
    if question.startswith(LONG):
        body.logit_bias, body.max_tokens = ENDS, 900
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
                        async for delta in echoed(question.removeprefix(ECHO)):
                            yield {**chunk, "choices": [{**choice, "delta": delta, "finish_reason": None}]}
                yield chunk


async def echoed(text: str) -> AsyncGenerator[dict[str, Any], None]:
    if text.startswith(CALL):
        for piece in ('{"city": ', '"Paris"}'):
            name = {"name": "weather"} if piece.startswith("{") else {}
            yield {"tool_calls": [{"index": 0, "function": {**name, "arguments": piece}}]}
        return
    if text.startswith(REASON):
        thought, _, text = text.removeprefix(REASON).partition("\n")
        for word in thought.split(" "):
            await asyncio.sleep(0.05)
            yield {"reasoning_content": f"{word} "}
    whole, _, rest = text.partition(FAIL)
    for start in range(0, len(whole), 40):
        await asyncio.sleep(0.01)
        yield {"content": whole[start : start + 40]}
    if rest:
        raise RuntimeError("a defect, as the question asked for")


if __name__ == "__main__":
    application.plan_chat = obedient_plan
    application.ChatAnswer = ObedientAnswer  # type: ignore[misc]
    sys.exit(main(["webui", *sys.argv[1:]]))

"""/v1/chat/completions: the response."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ftllm_nb.engine.request import LENGTH, Constraint
from ftllm_nb.serving.answer_deltas import AnswerDeltas, add_delta
from ftllm_nb.serving.chat_plan import ChatPlan
from ftllm_nb.serving.choices import Choices, timings, usage
from ftllm_nb.serving.logprob_forms import chat_logprobs
from ftllm_nb.serving.protocol import ChatRequest
from ftllm_nb.serving.service import Service
from ftllm_nb.serving.thinking_limit import limited


class ChatAnswer:
    """Builds the response of one chat. `chunks` is what a stream sends; `whole` is the same in one piece."""

    def __init__(self, service: Service, body: ChatRequest, plan: ChatPlan, client: str) -> None:
        self._service = service
        self._body = body
        self._plan = plan
        self._model = service.ready_model()
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        constraints = iter(plan.constraints)
        most = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
        self.choices: Choices = service.new_choices(
            body,
            [plan.prompt_ids],
            max_tokens=most,
            top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
            make_constraint=lambda: self._may_think_before(next(constraints)),
            client=client,
            style=self._model.style,
        )

    def _may_think_before(self, constraint: Constraint | None) -> Constraint | None:
        """What holds for an answer: a call that is forced begins at once."""
        if self._plan.must_call:
            return constraint
        return limited(self._model.style, self._plan.opened, self._body.most_thinking, constraint)

    async def chunks(self, notes: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """chat.completion.chunk objects."""
        options = self._body.stream_options
        with_usage = options is not None and bool(options.include_usage)
        continuous = with_usage and options is not None and bool(options.continuous_usage_stats)

        def extra() -> dict[str, Any]:
            return {"usage": usage(self.choices.choices, 1) if continuous else None} if with_usage else {}

        begin = {"role": "assistant", "content": None if self._plan.must_call else ""}
        for index in range(len(self.choices.choices)):
            yield self._chunk(index, begin, **extra(), **self._warnings())
        left = len(self.choices.choices)
        async with aclosing(self._deltas(notes)) as deltas:
            async for index, delta, logprobs, reason in deltas:
                if reason is not None and (delta or logprobs is not None):
                    # The end comes in a piece of its own, as OpenAI sends it: its client's helpers wait for that.
                    yield self._chunk(index, delta, logprobs, None, **extra())
                    delta, logprobs = {}, None
                left -= reason is not None
                last = {} if left or with_usage else {"timings": timings(self.choices.choices)}
                yield self._chunk(index, delta, logprobs, reason, **extra(), **last)
        if with_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], **self._counts()}

    async def whole(self, notes: dict[str, Any]) -> dict[str, Any]:
        """A chat.completion object."""
        messages: list[dict[str, Any]] = []
        for index in range(len(self.choices.choices)):
            message = {"role": "assistant", "content": "", "refusal": None}
            messages.append({"index": index, "message": message, "logprobs": None, "finish_reason": None})
        async for index, delta, logprobs, reason in self._deltas(notes):
            found = messages[index]
            message = found["message"]
            add_delta(message, delta)
            if logprobs is not None:
                before = found["logprobs"] or {"content": [], "refusal": None}
                found["logprobs"] = {**before, "content": before["content"] + logprobs["content"]}
            found["finish_reason"] = reason or found["finish_reason"]
        for found, choice in zip(messages, self.choices.choices, strict=True):
            found.update(choice.stop_reason)
            is_call = "tool_calls" in found["message"] or self._plan.must_call
            if is_call and not found["message"]["content"].strip():
                found["message"]["content"] = None
        if self._service.options.log_text:
            notes["answer"] = [found["message"] for found in messages]
        return {**self._head("chat.completion"), "choices": messages, **self._counts(), **self._warnings()}

    async def _deltas(
        self, notes: dict[str, Any]
    ) -> AsyncGenerator[tuple[int, dict[str, Any], dict[str, Any] | None, str | None], None]:
        """(choice, what is new in its message, logprobs, why it ended)."""
        readers = [self._new_reader() for _ in self.choices.choices]
        if self._service.options.log_text:
            notes["messages"] = self._body.messages
        async with self._service.answering(self.choices, notes), aclosing(self.choices.events()) as events:
            async for choice, piece in events:
                reader = readers[choice.index]
                is_cut = choice.reason == LENGTH or choice.is_loop or choice.pieces.stopped
                delta, tokens = reader.hear(piece, choice.reason is not None, is_cut)
                if reader.is_over:
                    self.choices.end(choice)
                reason = reader.finish_reason(choice.reason)
                logprobs = None
                if self._body.logprobs and tokens:
                    logprobs = chat_logprobs(self._model.tokenizer, tokens)
                if delta or logprobs is not None or reason is not None:
                    yield choice.index, delta, logprobs, reason

    def _new_reader(self) -> AnswerDeltas:
        plan, style = self._plan, self._model.style
        given = style.family.form.prefix if plan.must_call else None
        parser = style.parser(plan.functions, plan.opened, given)
        one_call = self._body.parallel_tool_calls is False
        return AnswerDeltas(parser, style.family.new_id, one_call, only_calls=plan.must_call)

    def _head(self, kind: str) -> dict[str, Any]:
        return self._service.head(self._id, kind, self._created)

    def _warnings(self) -> dict[str, Any]:
        """The field `warnings`, where there are any."""
        return {"warnings": self._plan.warnings} if self._plan.warnings else {}

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        reason: str | None = None,
        **extra: Any,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        if reason is not None:
            choice.update(self.choices.choices[index].stop_reason)
        return {**self._head("chat.completion.chunk"), "choices": [choice], **extra}

    def _counts(self) -> dict[str, Any]:
        return {"usage": usage(self.choices.choices, 1), "timings": timings(self.choices.choices)}

"""/v1/completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.chat_plan import check_biases, check_characters
from ftllm_nb.serving.choices import Choices, timings, usage
from ftllm_nb.serving.formats import response_form
from ftllm_nb.serving.logprob_forms import completion_logprobs
from ftllm_nb.serving.protocol import CompletionRequest
from ftllm_nb.serving.service import Service

DEFAULT_MAX_TOKENS = 16
"""As OpenAI documents it."""


@dataclass
class CompletionPlan:
    """`prompts`: their ids; `constraints`: one for each choice; `notes`: for the request's line in the log."""

    prompts: list[list[int]]
    constraints: Sequence[Constraint | None]
    notes: dict[str, Any]


def plan_completion(service: Service, body: CompletionRequest) -> CompletionPlan:
    """What has to be known before a completion is answered; takes a while. Raises ApiError."""
    model = service.ready_model()
    check_biases(body, model)
    prompts = _prompts(body)
    number = len(prompts) * (body.n or 1)
    if number > service.options.limits.choices:
        raise ApiError(400, f"at most {service.options.limits.choices} choices can be made at once.", param="n")
    ids = []
    for prompt in prompts:
        if isinstance(prompt, str):
            check_characters(len(prompt), model)
            ids.append(model.tokenizer.encode_completion(prompt))
            continue
        wrong = next((token_id for token_id in prompt if token_id >= model.vocab_size), None)
        if wrong is not None:
            raise ApiError(400, f"the model has no token id {wrong}.", param="prompt")
        ids.append(list(prompt))
    form = response_form(model, body.response_format, number)
    return CompletionPlan(ids, form.constraints, form.notes)


def _prompts(body: CompletionRequest) -> list[str | list[int]]:
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt[0], int):
        return [[token_id for token_id in prompt if isinstance(token_id, int)]]
    return [each for each in prompt if not isinstance(each, int)]


class CompletionAnswer:
    """Builds the response of one completion. `chunks` is what a stream sends; `whole` is the same in one piece."""

    def __init__(
        self,
        service: Service,
        body: CompletionRequest,
        plan: CompletionPlan,
        client: str,
    ) -> None:
        self._service = service
        self._body = body
        self._tokenizer = service.ready_model().tokenizer
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        constraints = iter(plan.constraints)
        self._num_prompts = len(plan.prompts)
        self.choices: Choices = service.new_choices(
            body,
            plan.prompts,
            max_tokens=body.max_tokens if body.max_tokens is not None else DEFAULT_MAX_TOKENS,
            top_logprobs=body.logprobs,
            make_constraint=lambda: next(constraints),
            client=client,
        )

    async def chunks(self, notes: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """text_completion objects with what is new."""
        options = self._body.stream_options
        with_usage = options is not None and bool(options.include_usage)
        extra: dict[str, Any] = {"usage": None} if with_usage else {}
        left = len(self.choices.choices)
        async with aclosing(self._pieces(notes)) as pieces:
            async for choice in pieces:
                left -= choice["finish_reason"] is not None
                last = {} if left or with_usage else {"timings": timings(self.choices.choices)}
                yield {**self._head(), "choices": [choice], **extra, **last}
        if with_usage:
            yield {**self._head(), "choices": [], **self._counts()}

    async def whole(self, notes: dict[str, Any]) -> dict[str, Any]:
        """A text_completion object."""
        found: list[dict[str, Any]] = [
            {"index": index, "text": "", "logprobs": None, "finish_reason": None}
            for index in range(len(self.choices.choices))
        ]
        async for piece in self._pieces(notes):
            choice = found[piece["index"]]
            choice["text"] += piece["text"]
            choice["finish_reason"] = piece["finish_reason"]
            if piece["logprobs"] is not None:
                before = choice["logprobs"] or {name: [] for name in piece["logprobs"]}
                choice["logprobs"] = {name: before[name] + piece["logprobs"][name] for name in before}
        if self._service.options.log_text:
            notes["answer"] = [choice["text"] for choice in found]
        return {**self._head(), "choices": found, **self._counts()}

    async def _pieces(self, notes: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        lengths = [0] * len(self.choices.choices)
        if self._service.options.log_text:
            notes["prompt"] = self._body.prompt
        async with self._service.answering(self.choices, notes), aclosing(self.choices.events()) as events:
            async for choice, piece in events:
                index = choice.index
                logprobs = None
                if self._body.logprobs is not None and piece.tokens:
                    logprobs = completion_logprobs(self._tokenizer, piece.tokens, lengths[index])
                    lengths[index] += sum(map(len, logprobs["tokens"]))
                if piece.text or logprobs is not None or choice.reason is not None:
                    yield {
                        "index": index,
                        "text": piece.text,
                        "logprobs": logprobs,
                        "finish_reason": choice.reason,
                    }

    def _head(self) -> dict[str, Any]:
        name = self._service.options.model_name
        return {"id": self._id, "object": "text_completion", "created": self._created, "model": name}

    def _counts(self) -> dict[str, Any]:
        counts = usage(self.choices.choices, self._num_prompts)
        return {"usage": counts, "timings": timings(self.choices.choices)}

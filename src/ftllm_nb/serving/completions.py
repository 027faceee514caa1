"""/v1/completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.chat_plan import check_characters, check_token_ids
from ftllm_nb.serving.choices import Choice, Choices, timings, usage
from ftllm_nb.serving.formats import response_form
from ftllm_nb.serving.logprob_forms import TextOffsets, completion_logprobs, prompt_offsets
from ftllm_nb.serving.protocol import CompletionRequest
from ftllm_nb.serving.service import Model, Service

DEFAULT_MAX_TOKENS = 16
"""As OpenAI documents it."""


@dataclass
class CompletionPlan:
    """`prompts`: their ids; `texts`: of each its text, where it was given as one; `constraints`: one for each choice;
    `notes`: for the request's line in the log."""

    prompts: list[list[int]]
    texts: list[str | None]
    constraints: Sequence[Constraint | None]
    notes: dict[str, Any]


def plan_completion(service: Service, body: CompletionRequest) -> CompletionPlan:
    """Tokens and grammars; takes a while. Raises ApiError."""
    model, limits = service.ready_model(), service.options.limits
    check_token_ids(body, model)
    given = _prompts(body)
    number = len(given) * (body.n or 1)
    if number > limits.choices:
        raise ApiError(400, f"at most {limits.choices} choices can be made at once, not {number}.", param="n")
    prompts = [_token_ids(model, body, prompt) for prompt in given]
    if body.echo and body.logprobs is not None:
        entries = sum(map(len, prompts)) * (body.n or 1) * (body.logprobs + 1)
        if entries > limits.prompt_logprobs:
            message = f"the prompts' logprobs are {entries} numbers, more than {limits.prompt_logprobs}: ask for fewer."
            raise ApiError(400, message, param="prompt")
    texts = [prompt if isinstance(prompt, str) else None for prompt in given]
    form = response_form(model, body, number)
    return CompletionPlan(prompts, texts, form.constraints, form.notes)


def _prompts(body: CompletionRequest) -> list[str | list[int]]:
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt[0], int):
        return [[token_id for token_id in prompt if isinstance(token_id, int)]]
    return [each for each in prompt if not isinstance(each, int)]


def _token_ids(model: Model, body: CompletionRequest, prompt: str | list[int]) -> list[int]:
    if isinstance(prompt, str):
        return trusted_ids(model, prompt, body.add_special_tokens is not False, body.parse_special is not False)
    wrong = next((token_id for token_id in prompt if token_id >= model.vocab_size), None)
    if wrong is not None:
        raise ApiError(400, f"the model has no token id {wrong}.", param="prompt")
    return list(prompt)


def trusted_ids(model: Model, text: str, add_special_tokens: bool, parse_special: bool) -> list[int]:
    """The ids of a prompt that a program wrote, in whose text control tokens are meant. Raises ApiError."""
    check_characters(len(text), model, "prompt")
    return model.tokenizer.encode_completion(
        text, add_special_tokens=add_special_tokens, parse_special=parse_special
    )


class CompletionAnswer:
    """Builds the response of one completion. `chunks` is what a stream sends; `whole` is the same in one piece."""

    def __init__(self, service: Service, body: CompletionRequest, plan: CompletionPlan, client: str) -> None:
        self._service = service
        self._body = body
        self._plan = plan
        self._tokenizer = service.ready_model().tokenizer
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        constraints = iter(plan.constraints)
        self.choices: Choices = service.new_choices(
            body,
            plan.prompts,
            max_tokens=body.max_tokens if body.max_tokens is not None else DEFAULT_MAX_TOKENS,
            top_logprobs=body.logprobs,
            make_constraint=lambda: next(constraints),
            client=client,
            prompt_logprobs=body.logprobs if body.echo else None,
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
            choice.update({name: value for name, value in piece.items() if name.endswith("_reason")})
            if piece["logprobs"] is not None:
                before = choice["logprobs"] or {name: [] for name in piece["logprobs"]}
                choice["logprobs"] = {name: before[name] + piece["logprobs"][name] for name in before}
        if self._service.options.log_text:
            notes["answer"] = [choice["text"] for choice in found]
        return {**self._head(), "choices": found, **self._counts()}

    async def _pieces(self, notes: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        offsets: dict[int, TextOffsets] = {}
        if self._service.options.log_text:
            notes["prompt"] = self._body.prompt
        async with self._service.answering(self.choices, notes), aclosing(self.choices.events()) as events:
            async for choice, piece in events:
                if choice.index not in offsets:
                    text = ""
                    if self._body.echo:
                        text, logprobs = await self._service.in_thread(partial(self._echo, choice))
                        yield _piece(choice.index, text, logprobs)
                    offsets[choice.index] = TextOffsets(self._tokenizer, len(text))
                logprobs = None
                if self._body.logprobs is not None and piece.tokens:
                    tokens = [(token.token_id, token.logprobs) for token in piece.tokens]
                    begin = [offsets[choice.index].next(token_id) for token_id, _ in tokens]
                    logprobs = completion_logprobs(self._tokenizer, tokens, begin)
                if piece.text or logprobs is not None or choice.reason is not None:
                    yield _piece(choice.index, piece.text, logprobs, choice)

    def _echo(self, choice: Choice) -> tuple[str, dict[str, Any] | None]:
        """The prompt's text and its tokens' logprobs."""
        request, tokenizer = choice.request, self._tokenizer
        ids = request.token_ids[: request.prompt_tokens]
        text = self._plan.texts[choice.index // (self._body.n or 1)]
        if text is None:
            text = b"".join(map(tokenizer.token_bytes, ids)).decode("utf-8", "replace")
        if self._body.logprobs is None:
            return text, None
        tokens = list(zip(ids, [None, *request.judged], strict=True))
        return text, completion_logprobs(tokenizer, tokens, prompt_offsets(tokenizer, ids, text))

    def _head(self) -> dict[str, Any]:
        return self._service.head(self._id, "text_completion", self._created)

    def _counts(self) -> dict[str, Any]:
        counts = usage(self.choices.choices, len(self._plan.prompts))
        return {"usage": counts, "timings": timings(self.choices.choices)}


def _piece(
    index: int, text: str, logprobs: dict[str, Any] | None, choice: Choice | None = None
) -> dict[str, Any]:
    """A choice of a chunk; with `choice`, it says how that ended, if it has."""
    reason = None if choice is None else choice.reason
    more = choice.stop_reason if choice is not None and reason is not None else {}
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason, **more}

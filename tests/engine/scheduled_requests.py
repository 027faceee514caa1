"""Requests whose listeners write down what they are told, and what each answer would be alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from ftllm_nb.engine.request import End, Request, Token
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.scheduler import Scheduler
from tests.engine.paged_executor import answer_alone, same_logprobs

TOP = 3


@dataclass
class Heard:
    """What a listener was told."""

    tokens: list[Token] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)

    def __call__(self, event: Token | End) -> None:
        assert not self.ends
        (self.tokens if isinstance(event, Token) else self.ends).append(event)  # type: ignore[arg-type]

    @property
    def token_ids(self) -> list[int]:
        return [token.token_id for token in self.tokens]


def new_request(prompt: list[int], max_tokens: int | None = 5, client: str = "", **options: object) -> Request:
    chosen = SamplingSettings(max_tokens=max_tokens, **options)  # type: ignore[arg-type]
    return Request(prompt, chosen, Heard(), stop_token_ids=[0], top_logprobs=TOP, client=client)


def heard(request: Request) -> Heard:
    assert isinstance(request.listen, Heard)
    return request.listen


def check_answer(request: Request, most: int) -> None:
    prompt = request.token_ids[: request.prompt_tokens]
    tokens, rows, reason = answer_alone(prompt, request.settings, [0], most)
    told = heard(request)
    assert told.token_ids == tokens
    assert told.ends == [End(reason)]
    for token, logits in zip(told.tokens, rows, strict=True):
        assert token.logprobs is not None
        same_logprobs(token.logprobs, logits, token.token_id, TOP)


def run_all(scheduler: Scheduler, most_steps: int = 5000) -> None:
    for _ in range(most_steps):
        if scheduler.is_idle:
            return
        scheduler.step()
    raise AssertionError("the scheduler does not come to an end")

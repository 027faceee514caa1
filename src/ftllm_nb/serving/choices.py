"""The answers of one HTTP request: submitted to the engine together, heard on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from ftllm_nb.engine.batching import BatchingEngine
from ftllm_nb.engine.request import CANCELLED, LENGTH, LOOP, STOP, End, Request, Token
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.mailbox import Mailbox
from ftllm_nb.serving.text_pieces import Piece, TextPieces


@dataclass
class Choice:
    """One answer. `reason`: why it ended, None before; `tokens`: how many were heard, of which the engine may have
    made more when a stop string was found."""

    index: int
    request: Request
    pieces: TextPieces
    tokens: int = 0
    reason: str | None = None
    is_loop: bool = False
    """Whether it ended since it only repeated itself; the reason is "stop" then, as clients know no other."""
    ended: float | None = None

    @property
    def stop_reason(self) -> dict[str, str]:
        """What the response says beside finish_reason, in the field that vLLM has for it."""
        return {"stop_reason": "repetition"} if self.is_loop else {}


@dataclass(eq=False)
class Choices:
    """All answers of a request; `events` yields (choice, piece) until each has ended."""

    engine: BatchingEngine
    mailbox: Mailbox
    """Of the event loop that listens."""
    choices: list[Choice] = field(default_factory=list)
    failure: ApiError | None = None
    """Set by `abort`: what the client is told instead of the rest."""
    first_text: float | None = None
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._heard: asyncio.Queue[tuple[Choice | None, Token | End | None]] = asyncio.Queue()

    def add(self, make_request: Callable[[Callable[[Token | End], None]], Request], pieces: TextPieces) -> None:
        """One more answer; `make_request` is given the request's listener."""

        def listen(event: Token | End) -> None:
            self.mailbox.post(self._heard, (choice, event))
            if isinstance(event, End):  # may come outside of a step, after which the engine wakes the loop
                self.mailbox.wake()

        choice = Choice(len(self.choices), make_request(listen), pieces)
        self.choices.append(choice)

    def submit(self) -> None:
        """Hand all of them to the engine, or none; see `BatchingEngine.submit`."""
        try:
            for choice in self.choices:
                self.engine.submit(choice.request)
        except BaseException:
            self.cancel()
            raise

    def end(self, choice: Choice) -> None:
        """The choice is whole, whatever the model would write next. Called on the event loop."""
        if choice.reason is None:
            choice.reason = STOP
            choice.ended = time.monotonic()
            self.engine.cancel(choice.request)

    def cancel(self) -> None:
        """Nobody wants the rest."""
        for choice in self.choices:
            if not choice.request.ended:
                self.engine.cancel(choice.request)

    def abort(self, failure: ApiError) -> None:
        """End the answers, and tell the client why. Called on the event loop."""
        if self.failure is None:
            self.failure = failure
            self.cancel()
            self._heard.put_nowait((None, None))

    async def events(self) -> AsyncGenerator[tuple[Choice, Piece], None]:
        """Pieces as they come; the last one of a choice comes with its `reason`. Raises what went wrong."""
        while any(choice.reason is None for choice in self.choices):
            choice, event = await self._heard.get()
            if self.failure is not None:
                raise self.failure
            if choice is None or choice.reason is not None:
                continue
            piece = self._hear(choice, event)
            if piece.text and self.first_text is None:
                self.first_text = time.monotonic()
            if choice.reason is not None:
                choice.ended = time.monotonic()
            if piece.text or piece.tokens or choice.reason is not None:
                yield choice, piece

    def _hear(self, choice: Choice, event: Token | End | None) -> Piece:
        if isinstance(event, Token):
            choice.tokens += 1
            piece = choice.pieces.push(event)
            if choice.pieces.stopped:
                choice.reason = STOP
                self.engine.cancel(choice.request)
            return piece
        assert isinstance(event, End)
        if event.error is not None:
            raise event.error
        if event.reason == CANCELLED:
            raise ApiError(503, "the answer was cancelled.", code="cancelled")
        piece = choice.pieces.finish()
        choice.is_loop = event.reason == LOOP
        choice.reason = STOP if choice.pieces.stopped else LENGTH if event.reason == LENGTH else STOP
        return piece


def usage(choices: Sequence[Choice], prompts: int) -> dict[str, object]:
    """Counts of tokens, in OpenAI's form; the choices of one prompt follow one another."""
    each = len(choices) // prompts
    first = [choices[number * each].request for number in range(prompts)]
    prompt_tokens = sum(request.prompt_tokens for request in first)
    answer_tokens = sum(choice.tokens for choice in choices)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": answer_tokens,
        "total_tokens": prompt_tokens + answer_tokens,
        "prompt_tokens_details": {"cached_tokens": sum(request.cached_tokens for request in first)},
    }


def timings(choices: Sequence[Choice]) -> dict[str, float | int]:
    """Milliseconds and rates of the first choice, in llama.cpp's form."""
    request = choices[0].request
    times = request.times
    now = times.ended if times.ended is not None else time.monotonic()
    admitted = times.admitted if times.admitted is not None else now
    first = times.first_token if times.first_token is not None else now
    prompt_n, predicted_n = request.prompt_tokens - request.cached_tokens, choices[0].tokens
    prompt_seconds, decode_seconds = first - admitted, now - first
    return {
        "cache_n": request.cached_tokens,
        "prompt_n": prompt_n,
        "prompt_ms": round(1000 * prompt_seconds, 3),
        "prompt_per_second": round(prompt_n / prompt_seconds, 3) if prompt_seconds > 0 else 0.0,
        "predicted_n": predicted_n,
        "predicted_ms": round(1000 * decode_seconds, 3),
        "predicted_per_second": round((predicted_n - 1) / decode_seconds, 3) if decode_seconds > 0 else 0.0,
        "queue_ms": round(1000 * (admitted - times.arrived), 3),
    }

"""What a client asks of the scheduler, what it is told meanwhile, and how far its answer is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.block_pool import chained_key
from ftllm_nb.engine.kept_sequence import KeptSequence
from ftllm_nb.engine.logprobs import TokenLogprobs
from ftllm_nb.engine.sampling import Sampler
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.errors import EngineError

STOP, LENGTH, LOOP, CANCELLED, FAILED = "stop", "length", "loop", "cancelled", "failed"
"""Why an answer ended: a stop token; max_tokens or a full context; it only repeats itself; nobody wants the rest; an
error."""


class ConstraintError(EngineError):
    """A constraint asks for more than can be followed."""


class Constraint(Protocol):
    """What an answer may hold, token by token. Used by one thread at a time, from the first step on the engine's."""

    def allowed(self, left: int) -> NDArray[np.intp] | None:
        """The ids that may come next, ascending; None for all. `left`: tokens that the answer may still have. Raises
        `ConstraintError` where nothing may."""

    def accept(self, token_id: int) -> None:
        """The token was chosen."""


@dataclass(frozen=True)
class Token:
    """A token of the answer. `logprobs` where they were asked for."""

    token_id: int
    logprobs: TokenLogprobs | None


@dataclass(frozen=True)
class End:
    """Nothing more comes. `error`: what went wrong, where something did."""

    reason: str
    error: BaseException | None = None


@dataclass
class RequestTimes:
    """Seconds of a monotonic clock; None for what has not happened yet."""

    arrived: float = field(default_factory=time.monotonic)
    admitted: float | None = None
    first_token: float | None = None
    ended: float | None = None


class Request:
    """A prompt and how to answer it. The fields below the first empty line are the scheduler's, others may read them.

    `listen` is called on the engine thread with each `Token` and then one `End`; it must neither wait nor raise.
    `client`: who asks; the queue is fair between clients. `top_logprobs`: how many of the likeliest tokens' logprobs
    come with each token; None for no logprobs at all. `prompt_logprobs` is the same for the prompt's own tokens.
    `only_prompt`: the prompt is read, and nothing is answered. `kept`: where its conversation's sequence is found, and
    left for the next request.
    """

    def __init__(
        self,
        prompt_ids: Sequence[int],
        settings: SamplingSettings,
        listen: Callable[[Token | End], None],
        *,
        stop_token_ids: Iterable[int] = (),
        constraint: Constraint | None = None,
        top_logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        only_prompt: bool = False,
        kept: KeptSequence | None = None,
        client: str = "",
    ) -> None:
        self.prompt_tokens = len(prompt_ids)
        self.settings = settings
        self.listen = listen
        self.stop_token_ids = frozenset(stop_token_ids)
        self.constraint = constraint
        self.top_logprobs = top_logprobs
        self.prompt_logprobs = prompt_logprobs
        self.only_prompt = only_prompt
        self.kept = kept
        self.client = client

        self.token_ids = list(prompt_ids)
        """Prompt and answer."""
        self.judged: list[TokenLogprobs] = []
        """Of the prompt's tokens from the second one on, where they were asked for; whole when the answer begins."""
        self.most_tokens = 0
        """Of the answer."""
        self.sequence: Any = None
        """Its place in the cache while it runs."""
        self.last_logits: NDArray[np.float32] | None = None
        """Of the token that would follow, float32 [vocab_size], where only the prompt is read."""
        self.sampler: Sampler | None = None
        self.cancelled = False
        self.ended = False
        self.times = RequestTimes()
        self.cached_tokens = 0
        """Tokens of the prompt that did not have to be computed."""
        self.computed_tokens = 0
        """Tokens that ran, again where they had to."""
        self.preemptions = 0
        self._keys: list[bytes] = []

    @property
    def answer_tokens(self) -> int:
        """How many tokens the answer has so far."""
        return len(self.token_ids) - self.prompt_tokens

    @property
    def remaining(self) -> int:
        """Tokens that have to run before the next one can be chosen."""
        return len(self.token_ids) - (0 if self.sequence is None else int(self.sequence.length))

    @property
    def is_judging(self) -> bool:
        """Whether logprobs of the prompt's tokens are still to come, which needs the prompt itself to run."""
        return self.prompt_logprobs is not None and len(self.judged) < self.prompt_tokens - 1

    def block_keys(self, count: int, block_positions: int) -> list[bytes]:
        """The keys of its first `count` full blocks."""
        for number in range(len(self._keys), count):
            start = number * block_positions
            before = self._keys[-1] if self._keys else b""
            self._keys.append(chained_key(before, self.token_ids[start : start + block_positions]))
        return self._keys[:count]

    def finish(self, reason: str, error: BaseException | None = None) -> None:
        """Say that nothing more comes; harmless the second time."""
        if not self.ended:
            self.ended = True
            self.times.ended = time.monotonic()
            self.listen(End(reason, error))

"""Continuous batching: which requests run in the next step, and with how many tokens each.

A step holds the one new token of each request that is decoding, and, up to a budget, chunks of the prompts of those
that are not that far yet, so that a long prompt does not stall the others. A request joins at any step. What its
prompt has in common with earlier ones is found in the cache, by blocks. Where the cache gets full, the request that
came last gives its blocks back and later computes them again: its tokens stay, so that its answer is the same.

Used on the engine thread only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.block_pool import CacheFullError
from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.fair_queue import FairQueue
from ftllm_nb.engine.logprobs import token_logprobs
from ftllm_nb.engine.loops import LOOP_TOKENS, is_loop
from ftllm_nb.engine.request import CANCELLED, FAILED, LENGTH, LOOP, STOP, Request, Token
from ftllm_nb.engine.sampling import NOT_FINITE, Sampler
from ftllm_nb.errors import EngineError, StepStopped


@dataclass(frozen=True)
class SchedulerLimits:
    """`max_batch`: most requests at once; `chunk_tokens`: most tokens of a step, at least `max_batch`;
    `max_context`: most tokens of a prompt and its answer, None for what model and cache hold."""

    max_batch: int = 32
    chunk_tokens: int = 256
    max_context: int | None = None


@dataclass
class SchedulerCounts:
    """Since the beginning."""

    steps: int = 0
    prompt_tokens: int = 0
    """Of the requests that began, found in the cache or not."""
    cached_tokens: int = 0
    answer_tokens: int = 0
    preemptions: int = 0


def context_tokens(executor: Executor, limits: SchedulerLimits) -> int:
    """Most tokens of a prompt and its answer: what the model, the cache and the limits allow."""
    most = executor.max_positions
    if executor.cache.pool.limit is not None:
        at_once = min(limits.chunk_tokens, executor.max_step_tokens)
        most = executor.cache.most_tokens(executor.cache.pool.limit, at_once, most)
    return most if limits.max_context is None else min(most, limits.max_context)


class Scheduler:
    """Runs steps for the requests that were added, until none is left. `counts` may be read from any thread."""

    def __init__(self, executor: Executor, limits: SchedulerLimits) -> None:
        self._executor = executor
        self._cache = executor.cache
        self._limits = limits
        self._budget = min(limits.chunk_tokens, executor.max_step_tokens)
        self._max_batch = min(limits.max_batch, self._budget)
        most = self._cache.states.memory.most_sequences
        if most is not None:
            self._max_batch = min(self._max_batch, most)
        self._most_running = self._max_batch
        """Fewer where memory was out, until a request ends."""
        self.waiting = FairQueue()
        self.running: list[Request] = []
        """In the order in which they arrived."""
        self.in_step: list[Request] = []
        """Those whose tokens are running now."""
        self.counts = SchedulerCounts()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self.running and not self.waiting

    def add(self, request: Request) -> None:
        """Queue a request whose prompt fits into the context."""
        context = context_tokens(self._executor, self._limits)
        # The last token of an answer is never run, so that it needs no place in the context.
        request.most_tokens = context - request.prompt_tokens + 1
        if request.settings.max_tokens is not None:
            request.most_tokens = min(request.most_tokens, request.settings.max_tokens)
        self.waiting.push(request)

    def end_all(self, reason: str, error: BaseException | None = None) -> None:
        """End every request."""
        for request in [*self.running, *self.waiting]:
            self._end(request, reason, error)

    def step(self) -> bool:
        """Run one step; False where it was stopped, which changes nothing: the next one runs what it would have."""
        for request in [*self.running, *self.waiting]:
            if request.cancelled:
                self._end(request, CANCELLED)
        self._admit()
        for request in self.running:
            self._cache.give_back_unseen(request.sequence)
        shares = self._make_room(self._shares())
        if not shares:
            return True
        steps = [
            SequenceStep(
                request.sequence,
                np.array(request.token_ids[request.sequence.length :][:count], np.int32),
                wants_logits=count if request.is_judging else int(count == request.remaining),
            )
            for request, count in shares.items()
        ]
        self.in_step = list(shares)
        try:
            logits = self._executor.run(steps)
        except StepStopped:
            return False
        except CacheFullError as error:
            # The pool's limit promised memory that is not to be had: who came last waits for what others give back.
            last = self.running[-1]
            if len(self.running) > 1:
                self._preempt(last)
                self._most_running = len(self.running)
            else:
                self._end(last, FAILED, error)
            return True
        except Exception as error:
            for request in shares:
                self._end(request, FAILED, _as_engine_error(error))
            return True
        finally:
            self.in_step = []
        self.counts.steps += 1
        rows = list(zip(logits, self._executor.largest().tolist(), strict=True))
        for request, step in zip(shares, steps, strict=True):
            request.computed_tokens += len(step.token_ids)
            self._publish(request, len(step.token_ids))
            its_rows, rows = rows[: step.wants_logits], rows[step.wants_logits :]
            if request.is_judging and not self._judge(request, its_rows):
                continue
            if request.remaining:
                continue
            if request.only_prompt:
                request.last_logits = its_rows[-1][0].copy()
                self._end(request, LENGTH)
            else:
                self._choose_token(request, *its_rows[-1])
        return True

    def _judge(self, request: Request, rows: Sequence[tuple[NDArray[np.float32], int]]) -> bool:
        """Note the logprobs of the prompt's tokens that follow those that just ran, of which each has a row; False
        where the rows are no numbers, which ends the request."""
        assert request.prompt_logprobs is not None
        first = request.sequence.length - len(rows) + 1
        for position, (logits, largest) in enumerate(rows, first):
            # What ran again, after its blocks were given back, was judged before.
            if position <= len(request.judged) or position >= request.prompt_tokens:
                continue
            if largest < 0:
                self._end(request, FAILED, EngineError(NOT_FINITE))
                return False
            token_id = request.token_ids[position]
            request.judged.append(token_logprobs(logits, token_id, request.prompt_logprobs))
        return True

    def _admit(self) -> None:
        """Let waiting requests begin, in the queue's order, while there is room for all of their tokens."""
        for request in self.waiting:
            if len(self.running) >= self._most_running:
                return
            sequence = self._beginning_of(request)
            if sequence is None:
                continue
            if not self._has_room(request, sequence):
                self._put_back(request, sequence)
                return
            self.waiting.take(request)
            request.sequence = sequence
            if request.kept is not None:
                # From here, or from where its answer begins, the conversation may go on another way.
                self._cache.save(sequence, sequence.length)
                self._cache.save(sequence, len(request.token_ids) - 1)
            elif self._cache.states.exist:
                # Another request may begin as this one does.
                sequence.is_cut_back = False
                size = self._cache.block_positions
                self._cache.save(sequence, (len(request.token_ids) - 1) // size * size)
            if request.times.admitted is None:
                request.times.admitted = time.monotonic()
                request.sampler = Sampler(request.settings, request.token_ids, self._executor.vocab_size)
                request.cached_tokens = sequence.length
                self.counts.prompt_tokens += request.prompt_tokens
                self.counts.cached_tokens += request.cached_tokens
            self.running.append(request)
            self.running.sort(key=lambda each: each.times.arrived)

    def _beginning_of(self, request: Request) -> CachedSequence | None:
        """A sequence that holds as much as is known of the request's beginning; None where it pays to wait, since a
        running request is just computing the next block."""
        # The last token runs in any case: its logits are needed.
        wanted = [] if request.is_judging else request.token_ids[:-1]
        if request.kept is not None:
            sequence = request.kept.resume(self._cache, wanted)
            if sequence is not None:
                return sequence
        size = self._cache.block_positions
        keys = request.block_keys(len(wanted) // size, size)
        sequence = self._cache.find(keys)
        found = sequence.length // size
        if found < len(keys) and any(self._will_publish(other, keys, found) for other in self.running):
            self._cache.free(sequence)
            return None
        return sequence

    def _will_publish(self, other: Request, keys: list[bytes], number: int) -> bool:
        """Whether a running request is about to compute its block `number`, and that block is keys[number]. Where
        states are needed, it has to reach the end of a block at which they stay."""
        size = self._cache.block_positions
        if self._cache.states.exist and other.sequence.length >= number * size:
            next_kept = self._cache.states.next_kept(other.sequence)
            number = next_kept // size - 1
            if next_kept % size or not 0 <= number < len(keys):
                return False
        if other.sequence.length >= (number + 1) * size or len(other.token_ids) < (number + 1) * size:
            return False
        return other.block_keys(number + 1, size)[number] == keys[number]

    def _has_room(self, request: Request, sequence: CachedSequence) -> bool:
        """Whether the cache holds all tokens that are known of this request beside those of the running ones."""
        available = self._cache.pool.available
        if available is None or not self.running:
            return True
        known = [(other.sequence, len(other.token_ids)) for other in self.running]
        known.append((sequence, len(request.token_ids)))
        return sum(self._cache.blocks_to_come(each, length, self._budget) for each, length in known) <= available

    def _shares(self) -> dict[Request, int]:
        """How many tokens each running request runs next: one where it is decoding. Of what the budget leaves, a
        quarter is the oldest prompt's, and the shortest rests go first. Where a prompt ends, so that somebody gets a
        first token, longer ones do not fill the step up: it ends sooner."""
        shares = dict.fromkeys(self.running, 1)
        left = self._budget - len(shares)
        prompts = [request for request in self.running if request.remaining > 1]
        kept = left // 4 if len(prompts) > 1 else 0
        is_first_token_due = False
        for request in sorted(prompts, key=lambda each: each.remaining):
            rest = request.remaining - 1
            room = left if request is prompts[0] else left - kept
            if is_first_token_due and rest > room:
                room = kept if request is prompts[0] else 0
            if request is prompts[0]:
                kept = 0
            more = min(rest, room)
            is_first_token_due |= more == rest
            shares[request] += more
            left -= more
        return {request: self._cache.states.most_at_once(request.sequence, count) for request, count in shares.items()}

    def _make_room(self, shares: dict[Request, int]) -> dict[Request, int]:
        """The shares for which the cache has blocks; the requests that came last give theirs back if need be."""
        pool = self._cache.pool
        while True:
            needed = sum(self._cache.missing_blocks(request.sequence, count) for request, count in shares.items())
            if pool.available is None or needed <= pool.available:
                return shares
            last = self.running[-1]
            if len(self.running) == 1:
                self._end(last, FAILED, pool.why_full())
                return {}
            self._preempt(last)
            del shares[last]

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._cache.free(request.sequence)
        request.sequence = None
        request.preemptions += 1
        self.counts.preemptions += 1
        self.waiting.push(request)

    def _put_back(self, request: Request, sequence: CachedSequence) -> None:
        """Keep the sequence for the conversation's next request, if it belongs to one."""
        if request.kept is None:
            self._cache.free(sequence)
        else:
            request.kept.put(sequence, request.token_ids)

    def _publish(self, request: Request, added: int) -> None:
        """Let others find the blocks that the last `added` tokens filled."""
        size = self._cache.block_positions
        full = request.sequence.length // size
        first = (request.sequence.length - added) // size
        if first < full:
            self._cache.publish(request.sequence, request.block_keys(full, size), first)

    def _choose_token(self, request: Request, logits: NDArray[np.float32], largest: int) -> None:
        assert request.sampler is not None
        settings = request.settings
        forbidden = request.stop_token_ids if settings.must_go_on(request.answer_tokens) else frozenset()
        try:
            left = request.most_tokens - request.answer_tokens
            allowed = None if request.constraint is None else request.constraint.allowed(left)
            token_id = request.sampler.next_token(logits, allowed, forbidden, largest)
            if request.constraint is not None:
                request.constraint.accept(token_id)
        except Exception as error:
            self._end(request, FAILED, _as_engine_error(error))
            return
        if request.times.first_token is None:
            request.times.first_token = time.monotonic()
        if token_id in request.stop_token_ids:
            self._end(request, STOP)
            return
        logprobs = None
        if request.top_logprobs is not None:
            logprobs = token_logprobs(logits, token_id, request.top_logprobs)
        request.token_ids.append(token_id)
        self.counts.answer_tokens += 1
        request.listen(Token(token_id, logprobs))
        if request.answer_tokens >= request.most_tokens:
            self._end(request, LENGTH)
        elif allowed is None and settings.stop_loops and not settings.must_go_on(request.answer_tokens):
            # A constraint says itself what is whole: what it holds is not cut.
            if _is_loop(request):
                self._end(request, LOOP)

    def _end(self, request: Request, reason: str, error: BaseException | None = None) -> None:
        if request.sequence is not None:
            self.running.remove(request)
            self._most_running = self._max_batch
            sequence, request.sequence = request.sequence, None
            if reason == FAILED:
                self._cache.free(sequence)
            else:
                self._put_back(request, sequence)
        self.waiting.forget(request)
        request.finish(reason, error)


def _is_loop(request: Request) -> bool:
    begin = max(request.prompt_tokens, len(request.token_ids) - LOOP_TOKENS)
    return is_loop(request.token_ids[begin:])


def _as_engine_error(error: Exception) -> Exception:
    """A sentence instead of a MemoryError."""
    if isinstance(error, MemoryError):
        return EngineError(
            "there is not enough memory to answer: close other programs, raise the limit of memory, or shorten the "
            "prompt."
        )
    return error

"""A conversation with an executor: prompts in, token ids out, the cache kept from turn to turn.

Knows token ids, neither text nor models. Answers of one session, and of all sessions of one engine thread,
are made one after another.
"""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Generator, Iterable
from collections.abc import Sequence as SequenceOf

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.engine_thread import EngineThread, Task
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.generation import GenerationStats, GenerationTask
from ftllm_nb.engine.kept_sequence import KeptSequence
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.errors import ContextLengthError, EngineError, UsageError


class Session:
    """Turns of one conversation on an engine thread. `stats` are those of the answer that began last."""

    def __init__(self, engine: EngineThread) -> None:
        self._engine = engine
        self._kept = KeptSequence()
        self._answering: set[GenerationTask] = set()
        self.stats: GenerationStats | None = None

    def generate(
        self, prompt_ids: SequenceOf[int], settings: SamplingSettings, stop_token_ids: Iterable[int] = ()
    ) -> Generator[int, None, None]:
        """The answer's token ids, as they are made; the stop token that ends an answer is left out.

        The prompt is checked now, and runs from the first `next` on: what earlier prompts and answers of this
        session have in common with its beginning is not computed again. Closing the iterator, dropping it, or
        Ctrl-C while it waits stops the answer within one chunk of one operator. Raises `ContextLengthError`
        for a prompt longer than the context, `UsageError` for an empty one, `EngineError` for ids that the
        model does not have.
        """
        return self.answer(self.prepare(prompt_ids, settings, stop_token_ids))

    def prepare(
        self, prompt_ids: SequenceOf[int], settings: SamplingSettings, stop_token_ids: Iterable[int] = ()
    ) -> GenerationTask:
        """A checked task for `answer`, or for `begin` and `results`; it does not run yet."""
        return GenerationTask(self.checked(prompt_ids), settings, frozenset(stop_token_ids), self._kept)

    def answer(self, task: GenerationTask) -> Generator[int, None, None]:
        """What `generate` returns, of a prepared task."""
        try:
            self.begin(task)
            yield from task.results()
        finally:
            self.cancel(task)

    def begin(self, task: GenerationTask) -> None:
        """Let a prepared task run when its turn comes; `results` hands out what it makes, also later."""
        self.stats = task.stats
        self._answering.add(task)
        self._engine.submit(task)

    def results(self, task: GenerationTask) -> Generator[int, None, None]:
        """The token ids of a task that has begun; closing the iterator stops it."""
        try:
            yield from task.results()
        finally:
            self.cancel(task)

    def cancel(self, task: GenerationTask) -> None:
        """End one answer, from any thread. Harmless once it has ended."""
        self._engine.cancel(task)
        self._answering.discard(task)

    def logits(self, prompt_ids: SequenceOf[int]) -> NDArray[np.float32]:
        """The logits of the token that would follow the prompt: float32 [vocab_size]."""
        task = GenerationTask(self.checked(prompt_ids), SamplingSettings(), frozenset(), self._kept, only_prompt=True)
        try:
            self._engine.submit(task)
            for _ in task.results():
                pass
        finally:
            self._engine.cancel(task)
        if task.last_logits is None:
            raise EngineError("the prompt was stopped before its end.")
        return task.last_logits

    def checked(self, prompt_ids: SequenceOf[int]) -> list[int]:
        """The ids of a prompt that can be answered; raises what `generate` says."""
        try:
            ids = [operator.index(token_id) for token_id in prompt_ids]
        except TypeError:
            raise UsageError(
                f"token ids must be a list of whole numbers, one for each token, not {reprlib.repr(prompt_ids)}."
            ) from None
        check_prompt(ids, self._engine.executor)
        return ids

    def stop(self) -> None:
        """End the answers that are being made: their iterators stop. From any thread or signal handler."""
        for task in list(self._answering):
            self._engine.cancel(task)

    def forget(self) -> None:
        """Give the conversation's cache back, after the answers that were asked for before."""
        self._engine.submit(_ForgetTask(self._kept))


class _ForgetTask(Task):
    def __init__(self, kept: KeptSequence) -> None:
        super().__init__()
        self._kept = kept

    def run(self, executor: Executor) -> None:
        self._kept.forget(executor.cache)


def check_prompt(prompt_ids: SequenceOf[int], executor: Executor) -> None:
    """Raise an error unless the executor can answer this prompt."""
    if not prompt_ids:
        raise UsageError("the prompt holds no tokens: give the model at least one.")
    if len(prompt_ids) > executor.max_positions:
        raise ContextLengthError(
            f"the prompt has {len(prompt_ids)} tokens, but the model's context holds at most "
            f"{executor.max_positions}: shorten it, or begin a new conversation."
        )
    wrong = next((token_id for token_id in prompt_ids if not 0 <= token_id < executor.vocab_size), None)
    if wrong is not None:
        raise EngineError(
            f"the prompt holds the token id {wrong}, but the model's ids end at {executor.vocab_size - 1}: "
            "the tokenizer and the weights do not belong together."
        )

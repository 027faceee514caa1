"""A conversation with an executor: prompts in, token ids out, the cache kept from turn to turn.

Knows token ids, neither text nor models. Answers of one session, and of all sessions of one engine thread,
are made one after another.
"""

from __future__ import annotations

import operator
from collections.abc import Generator, Iterable
from collections.abc import Sequence as SequenceOf

from ftllm_nb.engine.engine_thread import EngineThread, Task
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.generation import GenerationStats, GenerationTask
from ftllm_nb.engine.prefix_cache import PrefixCache
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.errors import ContextLengthError, EngineError, UsageError


class Session:
    """Turns of one conversation on an engine thread. `stats` are those of the answer that began last."""

    def __init__(self, engine: EngineThread) -> None:
        self._engine = engine
        self._cache = PrefixCache()
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
        executor = self._engine.executor
        prompt_ids = [operator.index(token_id) for token_id in prompt_ids]
        check_prompt(prompt_ids, executor)
        return self._answer(GenerationTask(prompt_ids, settings, frozenset(stop_token_ids), self._cache))

    def _answer(self, task: GenerationTask) -> Generator[int, None, None]:
        try:
            self.stats = task.stats
            self._answering.add(task)
            self._engine.submit(task)
            yield from task.results()
        finally:
            self._engine.cancel(task)
            self._answering.discard(task)

    def stop(self) -> None:
        """End the answers that are being made: their iterators stop. From any thread or signal handler."""
        for task in list(self._answering):
            self._engine.cancel(task)

    def forget(self) -> None:
        """Give the conversation's cache back, after the answers that were asked for before."""
        self._engine.submit(_ForgetTask(self._cache))


class _ForgetTask(Task):
    def __init__(self, cache: PrefixCache) -> None:
        super().__init__()
        self._cache = cache

    def run(self, executor: Executor) -> None:
        self._cache.forget(executor)


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

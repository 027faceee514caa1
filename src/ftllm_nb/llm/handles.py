"""Launched answers by their handles, as fastllm numbers them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.engine.generation import GenerationTask


class Handles:
    """Each answer is kept until somebody streams it, and known as long as somebody does."""

    def __init__(self) -> None:
        self._next = itertools.count()
        self._waiting: dict[int, GenerationTask] = {}
        self._streamed: WeakValueDictionary[int, GenerationTask] = WeakValueDictionary()

    def add(self, task: GenerationTask) -> int:
        """A new handle, for an answer that has begun."""
        handle = next(self._next)
        self._waiting[handle] = task
        return handle

    def take(self, handle: int) -> GenerationTask:
        """The answer, for streaming it; once only, else `UsageError`."""
        task = self._waiting.pop(handle, None)
        if task is None:
            raise UsageError(f"there is no answer with the handle {handle!r}, or it was streamed before.")
        self._streamed[handle] = task
        return task

    def find(self, handle: int) -> GenerationTask | None:
        """The answer, whether it is being streamed or not; None where it has ended or never was."""
        return self._waiting.get(handle) or self._streamed.get(handle)

"""Memory for a model's weights, taken from the system while the rest of the model is prepared."""

from __future__ import annotations

import threading

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.graph.ir import CheckedGraph, FormatOf
from ftllm_nb.host_memory import obtainable_bytes
from ftllm_nb.memory import SLAB_BYTES, large_pages

LEAST_BYTES = 256 << 20
"""Of weights for which a thread is worth while."""
_SMALL_PAGE = 4096
_TOUCHED_AT_ONCE = 64 << 20


class EarlyPages:
    """Memory for what will be loaded, of which a thread takes the pages from the system while the caller prepares it.

    The system clears a page when it is first touched, which for the weights of a model takes as long as laying them
    out; before that, most cores have nothing to do. `memory`: zeroed, more than `size` by room for alignment. Nothing
    may be written there before `finish`. Raises MemoryError.
    """

    def __init__(self, size: int) -> None:
        self.memory = large_pages(size + SLAB_BYTES)
        self.touched = 0
        """Bytes that the system no longer counts as free."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._touch, args=(size,), name="ftllm-nb pages", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Touch no further page."""
        self._stop.set()
        self._thread.join()

    def _touch(self, size: int) -> None:
        for start in range(0, size, _TOUCHED_AT_ONCE):
            if self._stop.is_set():
                return
            end = min(start + _TOUCHED_AT_ONCE, size)
            self.memory[start:end:_SMALL_PAGE] = 0  # NumPy lets other threads run
            self.touched = end


def pages_for(graph: CheckedGraph, checkpoint: Checkpoint, format_of: FormatOf) -> EarlyPages | None:
    """Memory for the graph's matrices; None where they are small, or the system has not twice as much, or experts of a
    packed folder may stay in its files."""
    from ftllm_nb.engine.weight_types import weights_where

    size = 0
    for weight in graph.packed:
        count, rows, columns = weight.type.matrices
        size += count * format_of(weight).packed_bytes(rows, columns)
    if any(checkpoint.is_packed(value.name) for value in weights_where(graph, lambda parameter: parameter.by_expert)):
        return None
    obtainable = obtainable_bytes()
    if size < LEAST_BYTES or (obtainable is not None and size > obtainable // 2):
        return None
    try:
        return EarlyPages(size)
    except (MemoryError, RuntimeError):  # the latter where no thread can be started
        return None

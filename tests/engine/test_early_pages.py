"""Memory for weights that is taken while a model is prepared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftllm_nb import loading
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine import early_pages
from ftllm_nb.engine.early_pages import EarlyPages, pages_for
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_loading import require_memory
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.errors import EngineError

THREADS = EngineOptions(threads=1)


def test_all_of_it_is_touched_and_zero() -> None:
    pages = EarlyPages(100_000)
    pages._thread.join()
    assert pages.touched == 100_000 <= len(pages.memory)
    pages.memory[:8] = 1
    pages.finish()
    pages.finish()
    assert pages.memory[:8].all()
    assert not pages.memory[8:].any()


def test_no_page_is_touched_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_pages, "_TOUCHED_AT_ONCE", 4096)
    pages = EarlyPages(64 << 20)
    pages.finish()
    touched = pages.touched
    pages.memory[:] = 7
    assert (pages.memory == 7).all()
    assert pages.touched == touched


def test_weights_lie_there_and_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def logits(model: loading.LoadedModel) -> np.ndarray:
        try:
            sequence = model.executor.cache.new_sequence()
            return model.executor.run([SequenceStep(sequence, np.arange(9, dtype=np.int32), True)]).copy()
        finally:
            model.executor.close()

    prepared = loading.prepare("demo", THREADS)
    assert prepared.early_pages is None  # too small
    meant = logits(prepared.load())
    monkeypatch.setattr(early_pages, "LEAST_BYTES", 1)
    prepared = loading.prepare("demo", THREADS)
    assert prepared.early_pages is not None
    memory = prepared.early_pages.memory
    model = prepared.load()
    begin = memory.ctypes.data
    places = [part.address - begin for part in model.executor._program.weights]  # type: ignore[attr-defined]
    assert min(places) == 0
    assert max(places) < len(memory)
    np.testing.assert_array_equal(logits(model), meant)


def test_none_is_taken_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_pages, "LEAST_BYTES", 1)
    with open_checkpoint(Path(loading.located_model("demo", None, None, print)[0])) as checkpoint:
        graph = loading.describe(checkpoint)
        formats = loading.chosen_weight_types(THREADS).formats(graph)
        monkeypatch.setattr(early_pages, "obtainable_bytes", lambda: 4 << 20)
        assert pages_for(graph, checkpoint, formats) is None


def test_what_is_held_counts_as_memory_that_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    model = loading.load("demo", THREADS)
    program = model.executor._program  # type: ignore[attr-defined]
    model.executor.close()
    monkeypatch.setattr("ftllm_nb.engine.weight_loading.obtainable_bytes", lambda: 1000)
    with pytest.raises(EngineError, match="weights need"):
        require_memory(program)
    require_memory(program, held=1 << 30)

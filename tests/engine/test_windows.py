"""Layers with a window give blocks back while a sequence goes on: the answers are the same bits as if they kept all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.engine.request import Request, Token
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.scheduler import Scheduler, SchedulerLimits
from ftllm_nb.engine.session import Session
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS
from ftllm_nb.ops.reach import Reach
from tests.executors import open_executor
from tests.golden.small_models import PAIRS, prompt, write_checkpoint

WINDOW = 70
CONFIG = {
    **PAIRS,
    "num_hidden_layers": 4,
    "max_position_embeddings": 1024,
    "use_sliding_window": True,
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"],
}
TOKENS = prompt("windows", 900, CONFIG["vocab_size"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "m", "windows", CONFIG, "float32")


@pytest.fixture(scope="module", params=["float16", pytest.param("int8", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    """Of the cache."""
    return request.param


@pytest.fixture(scope="module")
def executor(folder: Path, kind: str) -> Iterator[Executor]:
    with open_executor("compiled", folder, kv_cache_dtype=kind, threads=2) as executor:
        yield executor


CHUNKS = [300, 1, 1, 200, 64, 127, *[1] * 130, 3]


def logits(executor: Executor, chunks: list[int]) -> NDArray[np.float32]:
    """Those after each step."""
    sequence, rows, begin = executor.cache.new_sequence(), [], 0
    for count in chunks:
        rows.append(executor.run([SequenceStep(sequence, TOKENS[begin : begin + count])])[0].copy())
        begin += count
    executor.cache.free(sequence)
    return np.stack(rows)


def test_the_bits_are_those_of_a_cache_that_keeps_all(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [reach for reach in executor.cache._reaches if reach.is_limited] == [Reach(window=WINDOW)] * 3
    got = logits(executor, CHUNKS)
    monkeypatch.setattr(executor.cache, "_limited", [])
    np.testing.assert_array_equal(got, logits(executor, CHUNKS))


@pytest.mark.parametrize("threads", [1, 4, 7])
def test_any_number_of_workers(folder: Path, kind: str, executor: Executor, threads: int) -> None:
    with open_executor("compiled", folder, kv_cache_dtype=kind, threads=threads) as other:
        np.testing.assert_array_equal(logits(other, CHUNKS), logits(executor, CHUNKS))


def test_memory_is_what_the_window_needs(executor: Executor) -> None:
    sequence = executor.cache.new_sequence()
    for begin in range(0, 900, 100):
        executor.run([SequenceStep(sequence, TOKENS[begin : begin + 100], 0)])
    executor.cache.give_back_unseen(sequence)
    full, window = -(-900 // BLOCK_POSITIONS), -(-WINDOW // BLOCK_POSITIONS) + 1
    assert executor.cache.pool.counts.used <= full + 3 * window
    executor.cache.free(sequence)
    assert executor.cache.pool.counts.used == executor.cache.pool.counts.kept == 0


def answers(executor: Executor, prompts: list[list[int]], max_batch: int) -> list[list[int]]:
    scheduler, heard = Scheduler(executor, SchedulerLimits(max_batch, chunk_tokens=150)), []
    for ids in prompts:
        heard.append([])
        listen = lambda event, mine=heard[-1]: mine.append(event.token_id) if isinstance(event, Token) else None  # noqa: E731
        scheduler.add(Request(ids, SamplingSettings(max_tokens=40), listen))
    while not scheduler.is_idle:
        scheduler.step()
    assert executor.cache.pool.counts.used == 0
    return heard


def test_prefixes_are_shared_and_a_small_cache_changes_nothing(executor: Executor) -> None:
    common = TOKENS[:400].tolist()
    prompts = [common + TOKENS[400 + 9 * n : 430 + 20 * n].tolist() for n in range(4)] + [common[:200], common]
    alone = [answers(executor, [ids], 1)[0] for ids in prompts]
    pool = executor.cache.pool
    try:
        for limit in (1000, executor.cache.most_blocks(540, 150) + 2):
            pool.limit = limit
            assert answers(executor, prompts, 4) == alone
            assert answers(executor, prompts[::-1], 3) == alone[::-1]
            assert pool.counts.used == 0 and pool.counts.kept > 0
    finally:
        pool.limit = None
        assert pool.forget_all()


def test_a_session_goes_back_to_what_was_saved_and_answers_as_a_new_one(folder: Path) -> None:
    """A turn is taken back, then all but the first: what the window needs is kept from where the turns began."""
    greedy = SamplingSettings(max_tokens=100)
    with (
        open_executor("compiled", folder, threads=2) as executor,
        closing(EngineThread(executor)) as engine,
    ):
        session = Session(engine)

        def ask(ids: list[int]) -> tuple[list[int], int]:
            answer = list(session.generate(ids, greedy))
            assert session.stats is not None
            return answer, session.stats.reused_tokens

        def ask_anew(ids: list[int]) -> list[int]:
            other = Session(engine)
            answer = list(other.generate(ids, greedy))
            other.forget()
            return answer

        first = TOKENS[:200].tolist()
        one, reused = ask(first)
        assert reused == 0
        second = [*first, *one, *TOKENS[200:290].tolist()]
        two, reused = ask(second)
        assert reused == 299, "all but the answer's last token, which never ran"
        third = [*second, *two, *TOKENS[290:400].tolist()]
        three, _ = ask(third)
        again, reused = ask(third)
        assert again == three and reused == len(third) - 1
        taken_back, begun_anew = [*second, *two, 5, 6, 7], [*second[:250], 9, 9]
        went_on, reused = ask(taken_back)
        assert reused == len(second) + 100
        gone_back, reused = ask(begun_anew)
        assert reused == 250, "within what is kept of where the first answer and the second question began"
        assert executor.cache.pool.counts.kept <= executor.cache.pool.counts.used
        assert (went_on, gone_back) == (ask_anew(taken_back), ask_anew(begun_anew))

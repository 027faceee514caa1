"""With real kernels: an answer's tokens and logprobs are equal bit for bit alone, in a batch, after preemption and
with a prefix that was found in the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.request import End, Request, Token
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.scheduler import Scheduler, SchedulerLimits
from tests.executors import open_executor
from tests.golden.small_models import PAIRS, prompt, write_checkpoint

CONFIG = {**PAIRS, "vocab_size": 501, "max_position_embeddings": 1024}
Answer = list[Token]


def asked(executor: Executor) -> list[tuple[list[int], SamplingSettings]]:
    """Prompts of many lengths, some with a common beginning of several blocks."""
    size = executor.cache.block_positions
    common = prompt("common", 2 * size + 9, CONFIG["vocab_size"]).tolist()
    prompts = [common + prompt(f"tail{number}", 1 + 7 * number, CONFIG["vocab_size"]).tolist() for number in range(4)]
    prompts += [prompt(f"own{number}", 3 + 40 * number, CONFIG["vocab_size"]).tolist() for number in range(4)]
    return [
        (
            ids,
            SamplingSettings(
                do_sample=number % 2 == 0, top_k=0, seed=number, max_tokens=4 + 5 * number, presence_penalty=number / 10
            ),
        )
        for number, ids in enumerate(prompts)
    ]


def run(executor: Executor, limits: SchedulerLimits, numbers: list[int]) -> tuple[dict[int, Answer], Scheduler]:
    """Answers by number; the requests arrive one a step."""
    scheduler = Scheduler(executor, limits)
    answers: dict[int, Answer] = {number: [] for number in numbers}
    left = list(numbers)
    while left or not scheduler.is_idle:
        if left:
            number = left.pop(0)
            ids, chosen = asked(executor)[number]

            def listen(event: Token | End, answer: Answer = answers[number]) -> None:
                if isinstance(event, Token):
                    answer.append(event)
                else:
                    assert event == End("length")

            scheduler.add(Request(ids, chosen, listen, top_logprobs=5))
        scheduler.step()
    assert executor.cache.pool.counts.used == 0
    return answers, scheduler


@pytest.mark.parametrize("engine, dtype, cache", [
    ("compiled", "float32", "float16"),
    pytest.param("compiled", "bfloat16", "int8", marks=pytest.mark.slow),
    ("compiled", "int4g32", "float16"),
    ("reference", "float32", "int8"),
])
def test_alone_and_in_a_batch(engine: str, dtype: str, cache: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "batched", CONFIG, "bfloat16")
    with open_executor(engine, folder, dtype=dtype, kv_cache_dtype=cache, threads=2) as executor:
        numbers = list(range(len(asked(executor))))
        alone: dict[int, Answer] = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(executor.cache, "find", lambda keys: executor.cache.new_sequence())
            for number in numbers:
                alone |= run(executor, SchedulerLimits(), [number])[0]
        if engine == "reference":
            # NumPy's products depend on the shapes; what was cached must be what would be computed, nearly.
            beside, scheduler = run(executor, SchedulerLimits(max_batch=3), numbers)
            assert scheduler.counts.cached_tokens > 0
            for number in numbers:
                assert [token.token_id for token in beside[number]] == [token.token_id for token in alone[number]]
            return
        for limits in (SchedulerLimits(), SchedulerLimits(max_batch=3, chunk_tokens=50)):
            together, scheduler = run(executor, limits, numbers[::-1])
            assert together == alone
            assert scheduler.counts.cached_tokens > 0
        # Blocks for the longest request and little more.
        executor.cache.pool.limit = 5 if executor.cache.block_positions == 64 else 20
        squeezed, scheduler = run(executor, SchedulerLimits(max_batch=8, chunk_tokens=64), numbers)
        assert squeezed == alone
        assert scheduler.counts.preemptions > 0

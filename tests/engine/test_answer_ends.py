"""When answers end: at tokens, at lengths, as loops, and where a constraint says so."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.engine.request import End, Request
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.scheduler import Scheduler, SchedulerLimits
from tests.engine.paged_executor import PagedExecutor
from tests.engine.scheduled_requests import Heard, heard, new_request, run_all

ALWAYS_1 = ((1, 100.0),)


@pytest.mark.parametrize("options, tokens, reason", [
    ({"logit_bias": ALWAYS_1, "stop_loops": True}, 160, "loop"),
    ({"logit_bias": ALWAYS_1}, 170, "length"),
    ({"logit_bias": ALWAYS_1, "stop_loops": True, "ignore_eos": True}, 170, "length"),
    ({"logit_bias": ALWAYS_1, "stop_loops": True, "min_tokens": 165}, 165, "loop"),
    ({"logit_bias": ((0, 100.0),)}, 0, "stop"),
    ({"logit_bias": ((0, 100.0),), "min_tokens": 3}, 3, "stop"),
    ({"logit_bias": ((0, 100.0),), "ignore_eos": True}, 170, "length"),
])  # fmt: skip
def test_when_an_answer_may_end(options: dict[str, object], tokens: int, reason: str) -> None:
    scheduler = Scheduler(PagedExecutor(), SchedulerLimits())
    request = new_request([1, 2], 170, **options)  # type: ignore[arg-type]
    scheduler.add(request)
    run_all(scheduler)
    assert len(heard(request).token_ids) == tokens and heard(request).ends == [End(reason)]
    assert 0 not in heard(request).token_ids


class OnlyOdd:
    """A constraint: odd ids, and the end after three of them."""

    def __init__(self) -> None:
        self.accepted: list[int] = []

    def allowed(self, left: int) -> object:
        return np.array([0]) if len(self.accepted) == 3 else np.arange(1, 23, 2)

    def accept(self, token_id: int) -> None:
        self.accepted.append(token_id)


@pytest.mark.parametrize("ignore_eos", [False, True])
@pytest.mark.parametrize("do_sample", [False, True])
def test_a_constraint_says_what_may_come_next(do_sample: bool, ignore_eos: bool) -> None:
    scheduler = Scheduler(PagedExecutor(), SchedulerLimits())
    constraint = OnlyOdd()
    chosen = SamplingSettings(do_sample=do_sample, seed=3, max_tokens=9, ignore_eos=ignore_eos)
    told = Heard()
    request = Request([1, 2], chosen, told, stop_token_ids=[0], constraint=constraint)  # type: ignore[arg-type]
    scheduler.add(request)
    run_all(scheduler)
    # With ignore_eos the end that the constraint asks for still comes.
    assert len(told.token_ids) == 3 and all(token % 2 for token in told.token_ids)
    assert told.ends == [End("stop")] and constraint.accepted == [*told.token_ids, 0]


def test_what_a_constraint_holds_is_not_cut_as_a_loop() -> None:
    class Only1:
        def allowed(self, left: int) -> object:
            return np.array([1])

        def accept(self, token_id: int) -> None:
            pass

    scheduler = Scheduler(PagedExecutor(), SchedulerLimits())
    told = Heard()
    chosen = SamplingSettings(stop_loops=True, max_tokens=180)
    request = Request([2], chosen, told, stop_token_ids=[0], constraint=Only1())  # type: ignore[arg-type]
    scheduler.add(request)
    run_all(scheduler)
    assert told.ends == [End("length")]

"""Continuous batching over an executor without a model: every answer is what it would be alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.engine.block_pool import BlockPool, CacheFullError
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.request import End, Request
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.scheduler import Scheduler, SchedulerLimits, context_tokens
from ftllm_nb.errors import EngineError
from ftllm_nb.ops.reach import Reach
from tests.engine.paged_executor import PagedExecutor, answer_alone, logits_of, same_logprobs
from tests.engine.scheduled_requests import TOP, Heard, check_answer, heard, new_request, run_all

PROMPTS = st.lists(st.integers(1, 2), min_size=1, max_size=25)
SETTINGS = st.builds(
    SamplingSettings,
    do_sample=st.booleans(),
    top_k=st.sampled_from([0, 5]),
    top_p=st.sampled_from([0.7, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    presence_penalty=st.sampled_from([0.0, 0.5]),
    frequency_penalty=st.sampled_from([0.0, -0.5]),
    logit_bias=st.sampled_from([(), ((3, 2.0), (5, -100.0))]),
    seed=st.integers(0, 3),
    max_tokens=st.one_of(st.none(), st.integers(1, 12)),
)


@pytest.mark.slow
@given(
    asked=st.lists(
        st.tuples(PROMPTS, SETTINGS, st.integers(0, 12), st.one_of(st.none(), st.integers(0, 20))),
        min_size=1,
        max_size=8,
    ),
    block=st.sampled_from([1, 3, 4]),
    limit=st.one_of(st.none(), st.integers(8, 60)),
    limits=st.builds(SchedulerLimits, max_batch=st.integers(1, 5), chunk_tokens=st.integers(5, 20)),
    stops=st.sets(st.integers(0, 30)),
    reaches=st.sampled_from([(Reach(),), (Reach(), Reach(window=5)), (Reach(window=9), Reach(chunk=4))]),
    has_state=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_an_answer_is_the_same_alone_and_in_any_company(
    asked: list[tuple[list[int], SamplingSettings, int, int | None]],
    block: int,
    limit: int | None,
    limits: SchedulerLimits,
    stops: set[int],
    reaches: tuple[Reach, ...],
    has_state: bool,
) -> None:
    """Requests join at any step, some leave, steps are stopped, prefixes are shared, the cache is too small."""
    limit = None if limit is None else limit * len(reaches)
    executor = PagedExecutor(block_positions=block, limit=limit, reaches=reaches, has_state=has_state)
    scheduler = Scheduler(executor, limits)
    context = context_tokens(executor, limits)
    requests: list[Request | None] = [None] * len(asked)
    for step in range(5000):
        for number, (prompt, chosen, arrival, departure) in enumerate(asked):
            if step == arrival and len(prompt) <= context:
                request = Request(prompt, chosen, Heard(), stop_token_ids=[0], top_logprobs=TOP)
                requests[number] = request
                scheduler.add(request)
            leaving = requests[number]
            if leaving is not None and departure is not None and step == arrival + departure:
                leaving.cancelled = True
        if step in stops:
            executor.request_stop()
        scheduler.step()
        executor.clear_stop()
        if scheduler.is_idle and step > 13:
            break
    assert scheduler.is_idle
    for request in requests:
        if request is None:
            continue
        if heard(request).ends == [End("cancelled")]:
            whole, *_ = answer_alone(request.token_ids[: request.prompt_tokens], request.settings, [0], 200)
            assert whole[: request.answer_tokens] == heard(request).token_ids
        else:
            check_answer(request, request.most_tokens)
    assert executor.cache.pool.counts.used == 0


def test_a_full_cache_preempts_and_answers_stay_the_same() -> None:
    executor = PagedExecutor(limit=20)
    scheduler = Scheduler(executor, SchedulerLimits(max_batch=4, chunk_tokens=16))
    requests = [new_request([number, *range(1, 12)], 40, do_sample=True, seed=number) for number in range(1, 5)]
    for request in requests:
        scheduler.add(request)
    run_all(scheduler)
    for request in requests:
        check_answer(request, 40)
    assert scheduler.counts.preemptions > 0
    assert requests[0].preemptions == 0, "who came first goes on"


def test_a_prefix_is_computed_once() -> None:
    executor = PagedExecutor()
    scheduler = Scheduler(executor, SchedulerLimits(max_batch=4, chunk_tokens=16))
    prefix = [1, 2] * 10
    for tail in (3, 4):
        scheduler.add(new_request([*prefix, tail], 1))
    run_all(scheduler)
    # The second one waits until the first has computed what they share: five blocks of four.
    assert sum(map(sum, executor.step_tokens)) == 21 + 1
    assert scheduler.counts.cached_tokens == 20
    executor.step_tokens.clear()
    request = new_request([*prefix], 1)
    scheduler.add(request)
    run_all(scheduler)
    # The last token has to run for its logits, and its block with it.
    assert executor.step_tokens == [[4]] and request.cached_tokens == 16


def test_an_answer_is_found_by_the_next_turn() -> None:
    executor = PagedExecutor()
    scheduler = Scheduler(executor, SchedulerLimits())
    first = new_request([5, 6, 7], 9, logit_bias=((0, -100.0),))
    scheduler.add(first)
    run_all(scheduler)
    second = new_request([*first.token_ids, 8], 1)
    scheduler.add(second)
    run_all(scheduler)
    # Of the twelve tokens eleven were run: two full blocks.
    assert second.cached_tokens == 8
    check_answer(second, 1)


def test_prompts_share_a_step_and_decoding_goes_on_beside_them() -> None:
    executor = PagedExecutor(max_step_tokens=16)
    scheduler = Scheduler(executor, SchedulerLimits(max_batch=4, chunk_tokens=12))
    decoding = new_request([1], 30, logit_bias=((0, -100.0),))
    scheduler.add(decoding)
    scheduler.step()
    scheduler.add(new_request([2] * 60, 1))
    scheduler.step()
    scheduler.add(new_request([3] * 3, 1))
    scheduler.step()
    # A first token is due: the long prompt takes no more than its quarter, so that the step ends soon.
    assert executor.step_tokens == [[1], [1, 11], [1, 3, 3]]
    scheduler.add(new_request([4] * 20, 1))
    scheduler.step()
    # None is due: the shorter rest goes on first, and the oldest keeps its quarter.
    assert executor.step_tokens[-1] == [1, 3, 8]
    run_all(scheduler)
    # One token of the decoding request in every step, however long the prompts are.
    assert all(tokens[0] == 1 and sum(tokens) <= 12 for tokens in executor.step_tokens)


def test_the_queue_is_fair_between_clients() -> None:
    scheduler = Scheduler(PagedExecutor(), SchedulerLimits(max_batch=1, chunk_tokens=16))
    order: list[str] = []
    for client in ["many"] * 5 + ["few"] * 2:
        request = new_request([1, 2, 3], 1, client)
        request.listen = lambda event, client=client: order.append(client) if isinstance(event, End) else None
        scheduler.add(request)
    run_all(scheduler)
    assert order == ["many", "few", "many", "few", "many", "many", "many"]


def test_a_failed_step_ends_its_requests_and_no_others() -> None:
    def fail(steps: list[object]) -> None:
        if len(steps) == 2:
            raise MemoryError

    executor = PagedExecutor(before_step=fail)  # type: ignore[arg-type]
    scheduler = Scheduler(executor, SchedulerLimits(max_batch=2, chunk_tokens=16))
    requests = [new_request([number] * 3, 2, logit_bias=((0, -100.0),)) for number in (1, 2, 3)]
    for request in requests:
        scheduler.add(request)
    run_all(scheduler)
    for request in requests[:2]:
        (end,) = heard(request).ends
        assert end.reason == "failed" and isinstance(end.error, EngineError) and "memory" in str(end.error)
    check_answer(requests[2], 2)
    assert executor.cache.pool.counts.used == 0


def test_blocks_that_someone_else_holds_end_a_lone_request_with_a_sentence() -> None:
    executor = PagedExecutor(limit=3)
    taken = [executor.cache.pool.take(), executor.cache.pool.take()]
    scheduler = Scheduler(executor, SchedulerLimits())
    request = new_request([1] * 6, 1)
    scheduler.add(request)
    run_all(scheduler)
    (end,) = heard(request).ends
    assert isinstance(end.error, EngineError) and "cache is full" in str(end.error)
    executor.cache.pool.release(taken)
    assert executor.cache.pool.counts.used == 0


def test_out_of_memory_is_no_full_cache_and_those_who_came_first_go_on() -> None:
    """Memory for six blocks, whatever the limit says: the sentence says what lacks, whatever the prompt's length."""
    numbers = iter(range(1, 7))

    def grow() -> list[int]:
        try:
            return [next(numbers)]
        except StopIteration:
            raise CacheFullError("there is no memory for more of the KV cache.") from None

    executor = PagedExecutor()
    executor.cache.pool = BlockPool(grow, limit=100)
    scheduler = Scheduler(executor, SchedulerLimits(max_batch=3, chunk_tokens=16))
    requests = [new_request([number] * 7, 12, logit_bias=((0, -100.0),)) for number in (1, 2, 3)]
    too_long = new_request([4] * 30, 1)
    for request in [*requests, too_long]:
        scheduler.add(request)
    run_all(scheduler)
    for request in requests:
        check_answer(request, 12)
    (end,) = heard(too_long).ends
    assert end.reason == "failed" and "there is no memory" in str(end.error)
    assert scheduler.counts.preemptions > 0 and executor.cache.pool.counts.used == 0


def test_a_step_for_which_memory_is_out_is_not_tried_again_and_again() -> None:
    """Memory for the states of two sequences: no blocks are given back by whom is put off, so that nothing changes
    until an answer ends."""
    def no_more_than_two(steps: list[SequenceStep]) -> None:
        if len(steps) > 2:
            raise CacheFullError("there is no memory for more of recurrent states.")

    executor = PagedExecutor(limit=None, before_step=no_more_than_two, has_state=True)
    scheduler = Scheduler(executor, SchedulerLimits(max_batch=5))
    requests = [new_request([number] * 7, 12, logit_bias=((0, -100.0),)) for number in range(1, 6)]
    for request in requests:
        scheduler.add(request)
    run_all(scheduler)
    for request in requests:
        check_answer(request, 12)
    assert scheduler.counts.preemptions < 12


def test_one_prompt_for_many_answers_is_computed_once_where_states_are_needed() -> None:
    """Beside an answer under way, so that steps do not end where blocks do."""
    executor = PagedExecutor(has_state=True)
    scheduler = Scheduler(executor, SchedulerLimits(max_batch=8))
    other = new_request([9, 8], 60, logit_bias=((0, -100.0),))
    scheduler.add(other)
    scheduler.step()
    requests = [new_request([*range(1, 20), *range(1, 23)], 6, seed=number, do_sample=True) for number in range(4)]
    for request in requests:
        scheduler.add(request)
    run_all(scheduler)
    for request in [*requests, other]:
        check_answer(request, request.most_tokens)
    assert [request.cached_tokens for request in requests] == [0, 40, 40, 40]


def test_what_is_never_cut_back_keeps_no_states() -> None:
    def look(steps: list[SequenceStep]) -> None:
        assert not any(step.sequence.snapshots for step in steps)

    executor = PagedExecutor(has_state=True, before_step=look)
    executor.cache.states.spacing = 4
    scheduler = Scheduler(executor, SchedulerLimits())
    request = new_request(list(range(1, 22)), 12)
    scheduler.add(request)
    run_all(scheduler)
    check_answer(request, 12)


@pytest.mark.parametrize("only_prompt", [False, True])
def test_a_prompts_own_logprobs(only_prompt: bool) -> None:
    """Whatever was in the cache, however often its blocks were given back: each token's, once, beside other answers."""
    executor = PagedExecutor(limit=24)
    scheduler = Scheduler(executor, SchedulerLimits(max_batch=4, chunk_tokens=16))
    prompts = [[number, *range(1, 20), *range(1, 20)] for number in (1, 1, 2)]
    others = [new_request([9, 8, number], 30, logit_bias=((0, -100.0),)) for number in range(2)]
    judged = [
        Request(prompt, SamplingSettings(max_tokens=12, logit_bias=((0, -100.0),)), Heard(), stop_token_ids=[0],
                top_logprobs=TOP, prompt_logprobs=2, only_prompt=only_prompt)
        for prompt in prompts
    ]  # fmt: skip
    for request in [others[0], *judged, others[1]]:
        scheduler.add(request)
    run_all(scheduler)
    for request, prompt in zip(judged, prompts, strict=True):
        assert len(request.judged) == len(prompt) - 1 and request.cached_tokens == 0
        for end, logprobs in enumerate(request.judged, 1):
            same_logprobs(logprobs, logits_of(prompt[:end]), prompt[end], 2)
        if only_prompt:
            assert heard(request).ends == [End("length")] and not heard(request).tokens
        else:
            check_answer(request, 12)
    for request in others:
        check_answer(request, 30)
    assert scheduler.counts.preemptions > 0 or only_prompt
    assert max(sum(tokens) for tokens in executor.step_tokens) <= 16


def test_a_prompt_alone_needs_no_logits() -> None:
    executor = PagedExecutor()
    scheduler = Scheduler(executor, SchedulerLimits())
    request = Request([1, 2, 3], SamplingSettings(max_tokens=1), Heard(), only_prompt=True)
    scheduler.add(request)
    run_all(scheduler)
    assert heard(request).ends == [End("length")] and not request.judged

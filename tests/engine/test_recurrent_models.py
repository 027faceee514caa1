"""Models with recurrent layers: equal bits in any chunks, company and on any workers, after a cut, and from states that
were saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb import loading
from ftllm_nb.engine.block_pool import BlockPool
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.kv_cache import KVCache
from ftllm_nb.engine.reference_executor import ReferenceExecutor
from ftllm_nb.engine.request import End, Request, Token
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.scheduler import Scheduler, SchedulerLimits
from ftllm_nb.engine.session import Session
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import StepStopped, UsageError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.models import graph_class
from tests.memory_checkpoint import MemoryCheckpoint, normal

COMMON: dict[str, Any] = {
    "hidden_size": 60, "intermediate_size": 100, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 3, "vocab_size": 211, "max_position_embeddings": 2048, "rope_theta": 1e4,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    # No size is a multiple of 16; value heads share key heads; a state's columns are more than one chunk.
    "qwen3_5_text": COMMON | {
        "model_type": "qwen3_5_text", "head_dim": 24, "linear_num_key_heads": 2, "linear_num_value_heads": 6,
        "linear_key_head_dim": 13, "linear_value_head_dim": 37,
        "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    },
    "granitemoehybrid": COMMON | {
        "model_type": "granitemoehybrid", "mamba_n_heads": 6, "mamba_n_groups": 2, "mamba_d_state": 11,
        "layer_types": ["mamba", "attention", "mamba", "mamba"], "num_local_experts": 0, "attention_multiplier": 0.3,
        "shared_intermediate_size": 50,
    },
    # A decay of each channel, three convolutions a layer, latent attention, experts.
    "kimi_linear": COMMON | {
        "model_type": "kimi_linear", "layer_types": ["linear_attention", "full_attention"] * 2, "linear_num_heads": 3,
        "linear_head_dim": 21, "kv_lora_rank": 20, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 10,
        "q_lora_rank": None, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    },
    "lfm2": COMMON | {
        "model_type": "lfm2", "layer_types": ["conv", "conv", "full_attention", "conv"], "conv_bias": True,
    },
}  # fmt: skip
TOKENS = (np.arange(400) * 7919 % 211).astype(np.int32)
DECODED = 5


def weights(config: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Of a size with which every part counts."""
    shapes = build_graph(graph_class(config), dict(config)).weight_shapes()
    return {
        name: normal(number, *shape, scale=0.5 if len(shape) == 1 else shape[-1] ** -0.5)
        for number, (name, shape) in enumerate(shapes.items())
    }


@contextmanager
def opened(
    config: dict[str, Any], threads: int = 2, dtype: str = "auto", state_dtype: str = "float32"
) -> Iterator[CompiledExecutor]:
    checkpoint = MemoryCheckpoint(dict(config), weights(config))
    graph = loading.describe(checkpoint)
    types = WeightTypes(dtype)
    executor = CompiledExecutor(graph, checkpoint, weight_types=types, state_dtype=state_dtype, threads=threads)
    try:
        yield executor
    finally:
        executor.close()


@pytest.fixture(scope="module", params=CONFIGS)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CONFIGS[request.param]


@pytest.fixture(scope="module", params=(1, 3))
def executor(config: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[CompiledExecutor]:
    with opened(config, request.param) as executor:
        yield executor


@pytest.fixture(scope="module")
def expected(config: dict[str, Any]) -> NDArray[np.float32]:
    """Logits [1 + DECODED, vocab]: the prompt as one step on one worker, then token by token."""
    with opened(config, 1) as executor:
        found = prefill_then_decode(executor, len(TOKENS))
    assert np.abs(found).max() > 0.3 and len({int(row.argmax()) for row in found}) > 1
    return found


def prefill(executor: CompiledExecutor, sequence: Any, tokens: NDArray[np.int32], chunk: int) -> NDArray[np.float32]:
    """Logits after the last token."""
    for start in range(0, len(tokens), chunk):
        logits = executor.run([SequenceStep(sequence, tokens[start : start + chunk])])
    return logits[0].copy()


def prefill_then_decode(executor: CompiledExecutor, chunk: int) -> NDArray[np.float32]:
    sequence = executor.cache.new_sequence()
    rows = [prefill(executor, sequence, TOKENS[:-DECODED], chunk)]
    rows += [prefill(executor, sequence, TOKENS[at:][:1], 1) for at in range(len(TOKENS) - DECODED, len(TOKENS))]
    executor.cache.free(sequence)
    return np.stack(rows)


@pytest.mark.parametrize("chunk", [len(TOKENS), pytest.param(1, marks=pytest.mark.slow), 3, 64, 100])
def test_any_chunks_on_any_number_of_workers(
    executor: CompiledExecutor, expected: NDArray[np.float32], chunk: int
) -> None:
    np.testing.assert_array_equal(prefill_then_decode(executor, chunk), expected)


def test_states_that_are_written_past_the_caches(
    config: dict[str, Any], expected: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftllm_nb.ops.recurrences.LARGE_STATE", 0)
    with opened(config) as executor:
        np.testing.assert_array_equal(prefill_then_decode(executor, 100), expected)


def test_beside_others_and_after_a_step_that_was_stopped(
    executor: CompiledExecutor, expected: NDArray[np.float32]
) -> None:
    sequence, other, newcomer = (executor.cache.new_sequence() for _ in range(3))
    prefill(executor, other, TOKENS[7:50], 20)
    end = len(TOKENS) - DECODED
    prefill(executor, sequence, TOKENS[: end - 90], 70)
    executor.request_stop()
    steps = [
        SequenceStep(other, TOKENS[:1]), SequenceStep(sequence, TOKENS[end - 90 : end]),
        SequenceStep(newcomer, TOKENS[30:70], False),
    ]  # fmt: skip
    with pytest.raises(StepStopped):
        executor.run(steps)
    executor.clear_stop()
    np.testing.assert_array_equal(executor.run(steps)[1], expected[0])
    for number, at in enumerate(range(end, len(TOKENS))):
        steps = [
            SequenceStep(newcomer, TOKENS[number : number + 3], number % 2), SequenceStep(sequence, TOKENS[at : at + 1])
        ]  # fmt: skip
        np.testing.assert_array_equal(executor.run(steps)[-1], expected[number + 1])
    for each in (sequence, other, newcomer):
        executor.cache.free(each)


def test_cut_back_to_a_saved_length(executor: CompiledExecutor, expected: NDArray[np.float32]) -> None:
    sequence, cache = executor.cache.new_sequence(), executor.cache
    cache.save(sequence, 130)
    prefill(executor, sequence, TOKENS[:130], 70)
    prefill(executor, sequence, TOKENS[:90], 40)
    assert cache.can_cut(sequence, 130) and not cache.can_cut(sequence, 131)
    cache.truncate(sequence, 130)
    np.testing.assert_array_equal(prefill(executor, sequence, TOKENS[130:-DECODED], 99), expected[0])
    cache.free(sequence)


def test_a_step_passes_places_where_states_stay(executor: CompiledExecutor, expected: NDArray[np.float32]) -> None:
    sequence, cache = executor.cache.new_sequence(), executor.cache
    usual, cache.states.spacing = cache.states.spacing, 64
    try:
        cache.save(sequence, 130)
        prefill(executor, sequence, TOKENS[:300], 300)
        assert sorted(sequence.snapshots) == [64, 128, 130, 192, 256]
        for length in (256, 130, 64):
            cache.truncate(sequence, length)
            np.testing.assert_array_equal(prefill(executor, sequence, TOKENS[length:-DECODED], 400), expected[0])
        limits, prompt = SchedulerLimits(1, chunk_tokens=400), TOKENS[:300].tolist()
        scheduler, cache.pool.limit = Scheduler(executor, limits), 1000
        scheduler.add(Request(prompt, SamplingSettings(max_tokens=1), lambda event: None))
        scheduler.step()
        assert scheduler.is_idle, "a prompt is one step, although there are places of states in it"
        found = cache.find(Request([*prompt[:200], 5], SamplingSettings(), lambda event: None).block_keys(3, 64))
        assert found.length == 192, "others find the states of each of them"
        cache.free(found)
    finally:
        cache.states.spacing, cache.pool.limit = usual, None
        cache.free(sequence)
        assert cache.forget_all()


def answers(executor: CompiledExecutor, prompts: list[list[int]], batch: int) -> tuple[list[list[int]], int, int]:
    """Of each prompt, the sampled tokens; how many tokens were found in the cache, and how often one was put off."""
    scheduler = Scheduler(executor, SchedulerLimits(batch, chunk_tokens=90))
    return answers_of(scheduler, prompts), scheduler.counts.cached_tokens, scheduler.counts.preemptions


def answers_of(scheduler: Scheduler, prompts: list[list[int]], first_seed: int | None = None) -> list[list[int]]:
    """`first_seed`: of the first prompt; the others' follow. All have 1 where none is given."""
    heard: list[list[int]] = []
    for number, ids in enumerate(prompts):
        seed = 1 if first_seed is None else first_seed + number
        heard.append([])
        listen = lambda event, mine=heard[-1]: mine.append(event.token_id) if isinstance(event, Token) else None  # noqa: E731
        scheduler.add(Request(ids, SamplingSettings(max_tokens=80, do_sample=True, top_k=0, seed=seed), listen))
    while not scheduler.is_idle:
        scheduler.step()
    return heard


def test_what_others_began_and_what_was_preempted(executor: CompiledExecutor) -> None:
    """Prompts that end just before, at and just after a saved place; branches; and a cache with little room."""
    common, cache = TOKENS[:140].tolist(), executor.cache
    prompts = [common, common[:127], common[:128], common[:129], [*common[:70], 5, 6], common]
    alone = [answers(executor, [ids], 1)[0][0] for ids in prompts]
    assert len({tuple(answer[:40]) for answer in alone}) >= 3
    cache.pool.limit = 1000
    try:
        found, cached, _ = answers(executor, prompts, 4)
        assert found == alone and cached >= 128
        again = [*common, *alone[0][:70], 9]
        expected = answers(executor, [again], 1)
        assert expected[1] >= 192, "the states at the answer's last block end were kept"
        assert cache.forget_all()
        assert answers(executor, [again], 1)[0] == expected[0]
        assert cache.forget_all()
        cache.pool.limit = cache.most_blocks(len(again), 90) + 5
        found, _, preemptions = answers(executor, prompts, 6)
        assert found == alone and preemptions > 0
    finally:
        cache.pool.limit = None
        assert cache.forget_all()


def test_branches_of_one_prompt(executor: CompiledExecutor) -> None:
    """Several answers to one prompt, as n asks for: computed once, and each as if it had been alone; also where there
    is no room for all at once."""
    prompt, cache, limits = TOKENS[:140].tolist(), executor.cache, SchedulerLimits(3, chunk_tokens=90)
    alone = [answers_of(Scheduler(executor, limits), [prompt], seed)[0] for seed in (5, 6, 7)]
    assert len({tuple(answer) for answer in alone}) == 3
    of_one = cache.most_blocks(len(prompt) + 80, 90)
    for blocks in (1000, of_one + 2):
        scheduler = Scheduler(executor, limits)
        cache.pool.limit = blocks
        try:
            assert answers_of(scheduler, [prompt] * 3, 5) == alone
            assert scheduler.counts.cached_tokens == 256 or blocks < 1000
            assert (scheduler.counts.preemptions > 0) == (blocks < 1000)
        finally:
            cache.pool.limit = None
            assert cache.forget_all()


def test_a_conversation_is_edited_undone_and_branched(config: dict[str, Any]) -> None:
    """Each answer is that of a fresh session, and not more is computed again than since the last saved place."""
    with opened(config) as executor, closing(EngineThread(executor)) as engine:
        executor.cache.states.spacing = 128
        settings, session = SamplingSettings(max_tokens=40, do_sample=True, top_k=0, seed=1), Session(engine)

        def ask(ids: list[int], least: int) -> list[int]:
            answer = list(session.generate(ids, settings))
            fresh = Session(engine)
            assert list(fresh.generate(ids, settings)) == answer
            fresh.forget()
            assert session.stats is not None and session.stats.reused_tokens >= least
            return answer

        history: list[list[int]] = [TOKENS[:300].tolist()]
        for turn in range(6):
            answer = ask(history[-1], len(history[-2]) if turn else 0)
            history.append([*history[-1], *answer, *TOKENS[turn * 11 : turn * 11 + 20].tolist()])
        ask(history[5], len(history[5]) - 1)  # the last answer again
        ask([*history[4], 3], len(history[3]))  # the last turn taken back, another in its place
        ask([*history[1], 8], len(history[1]) - 1)  # and all but the first two, which no saved length is of any more
        ask([*history[0][:290], 7, 7], 256)  # the first message edited
        assert executor.cache.can_cut(session._kept._sequence, 128)  # type: ignore[arg-type]
        session.forget()


def test_memory_of_states_is_bounded_and_given_back(config: dict[str, Any]) -> None:
    with opened(config) as executor:
        memory, cache = executor.cache.states.memory, executor.cache
        cache.states.spacing = 128
        sequence = cache.new_sequence()
        for at in range(0, 384, 32):
            executor.run([SequenceStep(sequence, TOKENS[at : at + 32])])
        # Zeros, those of 128, 256 and 384 tokens, and one to write.
        assert memory.made_bytes == 5 * memory.slot_bytes
        assert memory.used_bytes == 4 * memory.slot_bytes
        cache.free(sequence)
        assert memory.used_bytes == memory.slot_bytes
        executor.release_memory()
        assert memory.made_bytes == memory.slot_bytes


def test_states_of_older_turns_go_before_those_of_the_spacing() -> None:
    shape = (1 << 20,)  # 4 MB: room for 64
    cache = KVCache([], 64, BlockPool(lambda: ()), {"state": shape})
    cache.states.spacing, sequence = 256, cache.new_sequence()
    for at in range(8, 8000, 8):  # lengths after each step
        if at % 64 == 24:
            cache.save(sequence, at)
        cache.advance(sequence, 8, {at: sequence.states})
    kept = sorted(length for length in sequence.snapshots if length not in sequence.saved)
    assert len(kept) == 64 and {*range(256, 7936, 256)} <= {*kept}
    older = [length for length in kept if length % 256]
    assert len(older) > 30 and min(older) < 500 and max(np.diff([0, *kept])) <= 256


@pytest.mark.parametrize(
    "name",
    ["qwen3_5_text", *(pytest.param(name, marks=pytest.mark.slow) for name in ("granitemoehybrid", "kimi_linear"))],
)
def test_states_of_float16(name: str) -> None:
    """Equal bits in any chunks and company, as the reference has them, and near those of float32."""
    config = CONFIGS[name]
    with opened(config) as executor:
        exact, whole = prefill_then_decode(executor, len(TOKENS)), executor.cache.states.memory.slot_bytes
    with opened(config, 3, state_dtype="float16") as executor:
        found = prefill_then_decode(executor, len(TOKENS))
        assert executor.cache.states.memory.slot_bytes < 0.7 * whole
        for chunk in (3, 100):
            np.testing.assert_array_equal(prefill_then_decode(executor, chunk), found)
        sequence, other = executor.cache.new_sequence(), executor.cache.new_sequence()
        executor.cache.save(sequence, 130)
        prefill(executor, sequence, TOKENS[:200], 200)
        executor.cache.truncate(sequence, 130)
        end = len(TOKENS) - DECODED
        steps = [SequenceStep(other, TOKENS[:9]), SequenceStep(sequence, TOKENS[130:end])]
        np.testing.assert_array_equal(executor.run(steps)[1], found[0])
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert 0 < error < 5e-3
    checkpoint = MemoryCheckpoint(dict(config), weights(config))
    reference = ReferenceExecutor(
        loading.describe(checkpoint), checkpoint, kv_cache_dtype="float16", state_dtype="float16"
    )
    sequence = reference.cache.new_sequence()
    logits = reference.run([SequenceStep(sequence, TOKENS[:end])])
    np.testing.assert_allclose(logits[0], found[0], atol=3e-3 * np.abs(exact).max())


def test_a_type_that_states_cannot_have() -> None:
    with pytest.raises(UsageError, match='"bfloat16" is no type of states: use float32 or float16'):
        with opened(CONFIGS["qwen3_5_text"], state_dtype="bfloat16"):
            pass


def test_a_state_that_is_no_number_ends_its_request_alone() -> None:
    config = CONFIGS["qwen3_5_text"]
    arrays = weights(config)
    arrays["model.embed_tokens.weight"][5] = np.inf
    checkpoint = MemoryCheckpoint(dict(config), arrays)
    executor, ends = CompiledExecutor(loading.describe(checkpoint), checkpoint, threads=2), dict[int, End]()
    fine = TOKENS[TOKENS != 5][:90].tolist()
    with closing(executor):
        scheduler = Scheduler(executor, SchedulerLimits(4, chunk_tokens=90))
        for number, ids in enumerate(([*fine[:70], 5, *fine[:9]], fine, [5, *fine[:30]])):
            listen = lambda event, mine=number: ends.update({mine: event}) if isinstance(event, End) else None  # noqa: E731
            settings = SamplingSettings(max_tokens=9, logit_bias=((5, -100.0),))
            scheduler.add(Request(ids, settings, listen))
        while not scheduler.is_idle:
            scheduler.step()
        assert [ends[number].reason for number in range(3)] == ["failed", "length", "failed"]
        assert "logits are not finite" in str(ends[0].error)


@pytest.mark.parametrize("slots", [3, 6])
def test_more_requests_than_there_are_states_for(slots: int) -> None:
    """Some wait, whether the scheduler knows it from the beginning or a step finds out."""
    prompts = [TOKENS[number : number + 70].tolist() for number in range(5)]
    with opened(CONFIGS["qwen3_5_text"]) as executor:
        memory = executor.cache.states.memory
        scarce = Scheduler(executor, SchedulerLimits(5, chunk_tokens=90))
        memory.limit = slots
        few = Scheduler(executor, SchedulerLimits(5, chunk_tokens=90))
        found = [answers_of(scheduler, prompts) for scheduler in (scarce, few)]
        assert memory.made_bytes <= slots * memory.slot_bytes
        assert scarce.counts.preemptions > 0 == few.counts.preemptions
        memory.limit = None
        assert found == [[answers(executor, [ids], 1)[0][0] for ids in prompts]] * 2


def test_what_steers_a_state_keeps_its_floats(config: dict[str, Any]) -> None:
    graph = loading.describe(MemoryCheckpoint(dict(config), weights(config)))
    format_of = WeightTypes("int8g32").formats(graph)
    floats = {weight.name for weight in graph.packed if format_of(weight).name in ("float32", "float16")}
    endings = {
        "qwen3_5_text": ("in_proj_a.weight", "in_proj_b.weight"),
        "kimi_linear": ("f_a_proj.weight", "f_b_proj.weight", ".b_proj.weight", "moe.gate.weight"),
    }.get(config["model_type"], ())
    steering = {name for name in graph.weights if name.endswith(endings)}
    latent = {name for name in graph.weights if "kv_b_proj" in name}  # each head's own matrices, too small to round
    assert floats - latent == steering and all(any(name.endswith(each) for name in floats) for each in endings)
    assert not any("conv.weight" in weight.name or "conv1d" in weight.name for weight in graph.packed)

"""The Python API on the bundled model: every way to ask gives the same answer, and arguments do what they say."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb import llm
from ftllm_nb.engine.state_memory import StateMemory
from ftllm_nb.errors import ContextLengthError, FtllmError, TokenizerError, UsageError

QUESTION = "What is 17 + 25?"
ANSWER = "42"
LONG = "Count from 1 to 10."


@pytest.fixture(scope="module")
def model() -> Iterator[llm.Model]:
    with llm.model("demo", threads=1) as loaded:
        yield loaded


async def collect(pieces: Any) -> list[str]:
    return [piece async for piece in pieces]


def test_every_way_to_ask_gives_the_same_answer(model: llm.Model) -> None:
    assert model.response(QUESTION) == ANSWER
    assert "".join(model.stream_response(QUESTION)) == ANSWER
    assert list(model.stream_response(QUESTION, one_by_one=False))[-1] == ANSWER
    assert "".join(model.stream_response_handle(model.launch_stream_response(QUESTION))) == ANSWER
    assert "".join(asyncio.run(collect(model.stream_response_async(QUESTION)))) == ANSWER
    assert model.chat(None, QUESTION) == (ANSWER, [(QUESTION, ANSWER)])
    assert list(model.stream_chat(None, QUESTION))[-1] == (ANSWER, [(QUESTION, ANSWER)])
    assert model.response([{"role": "user", "content": QUESTION}]) == ANSWER


def test_history_and_messages_are_the_same_prompt(model: llm.Model) -> None:
    history = [("My name is Alice.", "Nice to meet you, Alice!")]
    messages = [
        {"role": "user", "content": history[0][0]},
        {"role": "assistant", "content": history[0][1]},
        {"role": "user", "content": "What is my name?"},
    ]
    assert model.prompt_ids("What is my name?", history) == model.prompt_ids(messages)
    assert "Alice" in model.response("What is my name?", history)
    _, grown = model.chat(None, "What is my name?", history)
    assert grown[0] == history[0] and grown[1][0] == "What is my name?"


def test_lengths(model: llm.Model) -> None:
    assert len(model.encode(model.response(LONG, max_length=5))) <= 5
    short = model.response(QUESTION)
    longer = model.response(QUESTION, min_length=30, max_length=30)
    assert longer.startswith(short)
    assert model.stats is not None and model.stats.answer_tokens == 30
    assert model.stats.finish_reason == "length"


def test_stop_tokens(model: llm.Model) -> None:
    stop = model.encode(ANSWER)[-1]
    assert model.response(QUESTION, stop_token_ids=[stop]) == ANSWER[: -len(model.tokenizer.decode([stop]))]


def test_the_default_is_the_likeliest_token_and_a_seed_repeats_a_draw(model: llm.Model) -> None:
    free: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "temperature": 5.0, "max_length": 8}
    assert model.response(QUESTION, seed=1) == model.response(QUESTION, seed=2) == ANSWER
    assert model.response(QUESTION, seed=1, **free) == model.response(QUESTION, seed=1, **free)
    assert len({model.response(QUESTION, seed=seed, **free) for seed in range(4)}) == 4


def test_logits_are_those_that_the_answer_begins_with(model: llm.Model) -> None:
    logits = model.response_logits(QUESTION)
    assert logits.shape == (model.config["vocab_size"],) and logits.dtype == np.float32
    assert int(logits.argmax()) == model.encode(ANSWER)[0]
    model.response(LONG)
    assert np.array_equal(model.response_logits(QUESTION), logits)


def test_logits_after_each_token_and_what_they_were_made_of(model: llm.Model) -> None:
    ids = model.prompt_ids(QUESTION)
    logits = model.logits(ids, all=True)
    assert logits.shape == (len(ids), model.config["vocab_size"]) and logits.dtype == np.float32
    assert np.array_equal(logits[-1], model.response_logits(QUESTION))
    assert np.array_equal(logits[-1], model.logits(ids))
    assert np.array_equal(logits[4], model.logits(ids[:5]))
    trace = model.trace(QUESTION)
    assert np.abs(trace["logits"][0] - logits).max() < 0.05 * np.abs(logits).max()  # integer products, and no caches
    assert np.array_equal(trace["logits"], model.trace(ids)["logits"])
    writes = trace.writes("hidden")
    assert np.array_equal(writes[-1].array, trace["hidden"]) and "hidden" in trace
    assert writes[0].operator == "Embedding" and writes[0].index == 0 and ".py:" in writes[0].where
    assert sum(len(trace.writes(name)) for name in trace) == len(trace.writes())
    with pytest.raises(UsageError, match="no tokens"):
        model.logits([], all=True)
    with pytest.raises(ContextLengthError):
        model.trace([5] * (model.max_positions + 1))


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda model: model.logits("x"), "token ids must be a list of whole numbers, one for each token, not 'x'."),
        (lambda model: model.logits([[1, 2]]), r"token ids must be .*, not \[\[1, 2\]\]\."),
        (lambda model: model.logits(None, all=True), "token ids must be .*, not None[.]"),
        (lambda model: model.trace([[1, 2]]), r"token ids must be .*, not \[\[1, 2\]\]\."),
        (lambda model: model.trace(None), "prompt must be a text, a list of messages or .*, not None[.]"),
        (lambda model: model.trace(np.array(5)), "prompt must be a text, a list of messages or .*, not array"),
        (lambda model: model.trace({"role": "user"}), "prompt must be a text, a list of messages or .*, not {"),
        (lambda model: model.encode(3), "text must be a text, not 3[.]"),
        (lambda model: next(model.stream_chat(None, 3)), "query must be a text or a list of messages, not 3[.]"),
        (lambda model: next(model.stream_chat(None, "x", 3)), "history must be a list of pairs"),
        (lambda model: llm.model("demo", threads=1, eos_token=3), "eos_token must be a list of tokens, not 3[.]"),
    ],
)
def test_what_is_of_another_type_is_refused_with_a_sentence(
    model: llm.Model, ask: Callable[[llm.Model], object], sentence: str
) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}"):
        ask(model)


def test_prompts(model: llm.Model) -> None:
    prompt = model.get_prompt(QUESTION)
    assert QUESTION in prompt and prompt.endswith("assistant\n")
    assert model.apply_chat_template([{"role": "user", "content": QUESTION}]) == prompt
    ids = model.apply_chat_template([{"role": "user", "content": QUESTION}], tokenize=True)
    assert ids == model.prompt_ids(QUESTION)
    assert model.get_input_token_len(QUESTION) == len(ids)
    without = model.prompt_ids(QUESTION, add_generation_prompt=False)
    assert len(without) < len(ids) and ids[: len(without)] == without
    assert model.get_max_input_len() == model.max_positions == 1024


def test_arguments_are_checked_before_anything_runs(model: llm.Model) -> None:
    wrong: list[dict[str, Any]] = [
        {"temperature": -1.0}, {"top_p": 2.0}, {"top_k": -1}, {"max_length": 0}, {"min_length": -1},
        {"stop_token_ids": ["a"]}, {"history": "a"}, {"history": [("a",)]}, {"seed": -1},
    ]  # fmt: skip
    for arguments in wrong:
        for ask in (model.stream_response, model.launch_stream_response, model.stream_response_async, model.response):
            with pytest.raises(UsageError):
                ask(QUESTION, **arguments)  # type: ignore[operator]
    for query in (3, [], None):
        with pytest.raises(FtllmError):
            model.stream_response(query)  # type: ignore[arg-type]
    with pytest.raises(ContextLengthError):
        model.stream_response("word " * 2000)


def test_an_abandoned_answer_leaves_nothing_running(model: llm.Model) -> None:
    for _ in range(20):
        answer = model.stream_response(LONG, min_length=800)
        next(answer)
        del answer
    gc.collect()
    started = time.process_time()
    assert model.response(QUESTION) == ANSWER
    assert time.process_time() - started < 1
    assert not model._session._answering


def test_handles(model: llm.Model) -> None:
    endless = model.launch_stream_response(LONG, min_length=900)
    waiting = model.launch_stream_response(QUESTION)
    model.abort_handle(endless)
    assert "".join(model.stream_response_handle(waiting)) == ANSWER
    list(model.stream_response_handle(endless))
    for used in (endless, waiting, 10**9, "a"):
        with pytest.raises(UsageError, match="there is no answer with the handle"):
            model.stream_response_handle(used)  # type: ignore[arg-type]
    model.abort_handle(endless)
    streamed = model.launch_stream_response(LONG, min_length=900)
    pieces = model.stream_response_handle(streamed)
    next(pieces)
    model.abort_handle(streamed)
    assert len(list(pieces)) < 800
    handle = model.launch_stream_response(QUESTION)
    assert "".join(asyncio.run(collect(model.stream_response_handle_async(handle)))) == ANSWER


def test_several_threads_get_their_own_answers(model: llm.Model) -> None:
    sums = [(first, first + 7) for first in range(10, 18)]
    answers: dict[int, str] = {}

    def ask(first: int, second: int) -> None:
        answers[first] = model.response(f"What is {first} + {second}?")

    threads = [threading.Thread(target=ask, args=pair) for pair in sums]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {first: str(first + second) for first, second in sums}


def test_asyncio_runs_answers_beside_other_work(model: llm.Model) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async def ask(first: int) -> str:
        return "".join(await collect(model.stream_response_async(f"What is {first} + 7?")))

    async def main() -> list[str]:
        ticking = asyncio.create_task(tick())
        long, *answers = await asyncio.gather(
            collect(model.stream_response_async(LONG, min_length=300)), *map(ask, range(20, 26))
        )
        ticking.cancel()
        assert len(long) > 100
        return answers

    assert asyncio.run(main()) == [str(first + 7) for first in range(20, 26)]
    assert ticks > 10


def test_a_cancelled_task_stops_its_answer(model: llm.Model) -> None:
    async def main() -> None:
        pieces = model.stream_response_async(LONG, min_length=900)
        async for _ in pieces:
            break
        await pieces.aclose()
        task = asyncio.create_task(collect(model.stream_response_async(LONG, min_length=900)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    started = time.process_time()
    assert model.response(QUESTION) == ANSWER
    assert time.process_time() - started < 1


def test_an_error_reaches_the_async_caller() -> None:
    model = llm.model("demo", threads=1)
    pieces = model.stream_response_async(QUESTION)
    model.close()
    with pytest.raises(FtllmError, match="closed"):
        asyncio.run(collect(pieces))


def test_half_a_character_is_left_out_where_the_answer_was_stopped(
    model: llm.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = next(
        token_id
        for token_id in range(model.tokenizer.vocab_size)
        if model.tokenizer.decode([token_id]) == "\ufffd" and not model.tokenizer.stream_decoder().push(token_id)
    )

    def answer(finish_reason: str) -> str:
        def ids(task: Any) -> Iterator[int]:
            yield from (*model.encode("a"), half)
            task.stats.finish_reason = finish_reason

        monkeypatch.setattr(model._session, "answer", ids)
        return model.response(QUESTION)

    assert [answer("stop"), answer("length"), answer("stopped")] == ["a\ufffd", "a\ufffd", "a"]


def test_memory_is_limited_and_given_back() -> None:
    with llm.model("demo", threads=1) as model:
        assert model.response(QUESTION) == ANSWER
        model.set_kv_cache_limit("200k")
        assert 0 < model.get_max_input_len() < 1024
        with pytest.raises(ContextLengthError):
            model.stream_response("word " * 500)
        model.set_kv_cache_limit("2G")
        assert model.get_max_input_len() == 1024
        for wrong in ("", "much", "-1g", "0", "nan", "10", None):
            with pytest.raises(UsageError):
                model.set_kv_cache_limit(wrong)  # type: ignore[arg-type]
        assert model.run(lambda executor: len(executor._memory._slabs)) == 1  # type: ignore[attr-defined]
        model.release_memory()
        assert model.run(lambda executor: len(executor._memory._slabs)) == 0  # type: ignore[attr-defined]
        assert model.response(QUESTION) == ANSWER
        assert model.stats is not None and model.stats.reused_tokens == 0
        model.warmup()
        model.set_max_batch(4)
        with pytest.raises(UsageError, match="largest batch"):
            model.set_max_batch(0)


def test_what_the_cache_has_to_say_goes_where_warnings_go() -> None:
    warnings: list[str] = []
    with llm.model("demo", threads=1, warn=warnings.append) as model:
        model.run(lambda executor: executor.cache.states.tell("fewer states are kept"))
    assert warnings[-1] == "fewer states are kept"


def test_a_limit_of_memory_counts_states_of_recurrent_layers() -> None:
    with llm.model("demo", threads=1) as model:
        cache = model.run(lambda executor: executor.cache)
        cache.states.memory = StateMemory({"state": (10_000,)})
        with pytest.raises(UsageError, match=r"a KV cache of 200k is not enough: .* recurrent layers"):
            model.set_kv_cache_limit("200k")
        model.set_kv_cache_limit("400k")
        assert cache.states.memory.limit == 5
        counted = model.get_max_input_len()
        cache.states.memory = StateMemory({})
        model.set_kv_cache_limit("200k")
        assert 0 < counted == model.get_max_input_len() < 1024


def test_system_prompt_end_tokens_and_template(tmp_path: Path) -> None:
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    with llm.model("demo", threads=1, system_prompt="be brief", chat_template=template, id="mine") as model:
        assert model.get_prompt("a") == "<system>be brief<user>a"
        assert model.get_prompt([{"role": "system", "content": "b"}]) == "<system>b"
        assert model.id == "mine"
        comma = model.tokenizer.id_to_token(model.encode(",")[0])
    file = tmp_path / "template.jinja"
    file.write_text(template)
    with llm.model("demo", threads=1, chat_template=file) as model:
        assert model.get_prompt("a") == "<user>a"
    with llm.model("demo", threads=1, eos_token=[str(comma)]) as model:
        assert model.response(LONG) == "1"
    with pytest.raises(UsageError, match="no token of this model"):
        llm.model("demo", eos_token=["<nothing>"])
    with pytest.raises(UsageError, match="must be a list of tokens"):
        llm.model("demo", eos_token="<|im_end|>")
    with pytest.raises(TokenizerError, match="no file, and no template"):
        llm.model("demo", chat_template="nowhere.jinja")


def test_threads_and_instructions(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm, "_chosen_threads", None)
    llm.set_cpu_threads(1)
    assert llm.get_cpu_threads() == 1
    with llm.model("demo") as model:
        assert model.threads == 1
    llm.print_ins_info()
    assert "chosen" in capsys.readouterr().out

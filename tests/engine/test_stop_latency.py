"""A long prompt is stopped within 0.3 seconds, whatever it is at, and the session goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ftllm_nb.checkpoint.random import RandomCheckpoint
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.session import Session
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.models import graph_class
from tests.timing import least_seconds

# Seconds of work for two cores: a prompt of PROMPT tokens takes half a million million multiplications and more.
CONFIG: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
    "num_key_value_heads": 8, "num_hidden_layers": 2, "vocab_size": 2000, "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}  # fmt: skip
PROMPT = [token % 2000 for token in range(8000)]
GREEDY = SamplingSettings(temperature=0.0, max_tokens=2)


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineThread]:
    graph = build_graph(graph_class(CONFIG), CONFIG)
    checkpoint = RandomCheckpoint(CONFIG, graph.weight_shapes(), dtype="float32")
    engine = EngineThread(CompiledExecutor(check_graph(graph, checkpoint.tensors), checkpoint, threads=2))
    yield engine
    engine.close()


@pytest.mark.parametrize("after", [0.05, 0.4, 0.8])
def test_a_long_prefill_is_stopped(engine: EngineThread, after: float) -> None:
    session = Session(engine)

    def seconds() -> float:
        ended: list[float] = []

        def answer() -> None:
            assert list(session.generate(PROMPT, GREEDY)) == []
            ended.append(time.perf_counter())

        caller = threading.Thread(target=answer)
        caller.start()
        time.sleep(after)
        assert not ended, "the prompt is too short for this machine"
        stopped = time.perf_counter()
        session.stop()
        caller.join()
        return ended[0] - stopped

    assert least_seconds(seconds, 0.3) <= 0.3
    assert session.stats is not None and session.stats.finish_reason == "stopped"
    assert len(list(session.generate(PROMPT[:20], GREEDY))) == 2
    session.forget()


def test_closing_does_not_wait_for_the_prompt() -> None:
    graph = build_graph(graph_class(CONFIG), CONFIG)
    checkpoint = RandomCheckpoint(CONFIG, graph.weight_shapes(), dtype="float32")

    def seconds() -> float:
        engine = EngineThread(CompiledExecutor(check_graph(graph, checkpoint.tensors), checkpoint, threads=2))
        tokens = Session(engine).generate(PROMPT, GREEDY)
        caller = threading.Thread(target=lambda: list(tokens))
        caller.start()
        time.sleep(0.2)
        started = time.perf_counter()
        engine.close()
        taken = time.perf_counter() - started
        caller.join()
        return taken

    assert least_seconds(seconds, 0.3) <= 0.3

"""The engine thread's life: started late, closed, forgotten, forked, interrupted."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.session import Session
from ftllm_nb.errors import EngineError
from tests.engine.fake_executor import FakeExecutor, answer_of

ROOT = Path(__file__).parents[2]
ENDLESS = SamplingSettings()
SHORT = SamplingSettings(max_tokens=3)


def engine_threads() -> int:
    return sum(thread.name == "ftllm-nb engine" for thread in threading.enumerate())


def test_closing_an_unused_engine_closes_its_executor_once() -> None:
    executor = FakeExecutor()
    engine = EngineThread(executor)
    engine.close()
    engine.close()
    assert executor.closed == 1


def test_a_closed_engine_refuses_with_a_sentence() -> None:
    engine = EngineThread(FakeExecutor())
    session = Session(engine)
    list(session.generate([1], SHORT))
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        list(session.generate([1], SHORT))


def test_close_ends_a_running_answer_and_one_that_waits() -> None:
    executor = FakeExecutor(step_seconds=30)
    engine = EngineThread(executor)
    outcomes: list[object] = []

    def ask() -> None:
        try:
            outcomes.append(list(Session(engine).generate([1], ENDLESS)))
        except EngineError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    executor.step_running.wait(20)
    time.sleep(0.05)
    started = time.monotonic()
    engine.close()
    for thread in threads:
        thread.join(20)
    assert time.monotonic() - started < 15
    assert executor.closed == 1
    assert [] in outcomes and any("closed" in outcome for outcome in outcomes if isinstance(outcome, str))


def test_a_forgotten_engine_ends_its_thread_and_closes_its_executor() -> None:
    before = engine_threads()
    executor = FakeExecutor()
    session = Session(EngineThread(executor))
    list(session.generate([1], SHORT))
    assert engine_threads() == before + 1
    del session
    gc.collect()
    deadline = time.monotonic() + 30
    while engine_threads() > before or not executor.closed:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_answers_leave_nothing_behind() -> None:
    executor = FakeExecutor(max_positions=10_000)
    engine = EngineThread(executor)
    session = Session(engine)
    tasks: weakref.WeakSet[object] = weakref.WeakSet()
    begin = session.answer

    def watched(task):  # type: ignore[no-untyped-def]
        tasks.add(task)
        return begin(task)

    session.answer = watched  # type: ignore[method-assign]
    for _ in range(50):
        answer = session.generate([1, 2], ENDLESS)
        next(answer)
        del answer
    list(session.generate([1], SHORT))
    gc.collect()
    assert len(tasks) <= 1 and not session._answering
    assert threading.active_count() < 20
    engine.close()


def test_an_error_of_the_executor_reaches_the_caller() -> None:
    executor = FakeExecutor(next_token=lambda tokens: 1 // 0)
    engine = EngineThread(executor)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            list(Session(engine).generate([1], SHORT))
    engine.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_ctrl_c_interrupts_the_waiting_and_stops_the_step() -> None:
    executor = FakeExecutor(step_seconds=30)
    engine = EngineThread(executor)
    session = Session(engine)
    answer = session.generate([1], ENDLESS)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(answer)
    assert time.monotonic() - started < 15
    executor.step_seconds = 0
    assert list(session.generate([2], SHORT)) == answer_of([2], 3)
    assert time.monotonic() - started < 20
    engine.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_answers_on_a_thread_of_its_own() -> None:
    engine = EngineThread(FakeExecutor())
    session = Session(engine)
    assert list(session.generate([1, 2], SHORT)) == answer_of([1, 2], 3)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if list(session.generate([1, 2, 3], SHORT)) == answer_of([1, 2, 3], 3) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(session.generate([1, 2, 4], SHORT)) == answer_of([1, 2, 4], 3)
    engine.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_answer_in_progress_ends_with_an_error_in_a_forked_child() -> None:
    executor = FakeExecutor(step_seconds=0.05, max_positions=10_000)
    engine = EngineThread(executor)
    session = Session(engine)
    answer = session.generate([1, 2], ENDLESS)
    next(answer)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            list(answer)
        except EngineError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    answer.close()
    engine.close()


def test_a_program_may_end_in_the_middle_of_an_answer() -> None:
    program = (
        "from tests.engine.fake_executor import FakeExecutor\n"
        "from ftllm_nb.engine.engine_thread import EngineThread\n"
        "from ftllm_nb.engine.session import Session\n"
        "from ftllm_nb.engine.sampling_settings import SamplingSettings\n"
        "executor = FakeExecutor(max_positions=10**9, step_seconds=0.05)\n"
        "answer = Session(EngineThread(executor)).generate([1], SamplingSettings())\n"
        "print(next(answer))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{answer_of([1], 1)[0]}\n"


def test_a_call_returns_what_the_function_makes_of_the_executor() -> None:
    executor = FakeExecutor()
    engine = EngineThread(executor)
    assert engine.call(lambda given: (given is executor, threading.current_thread().name)) == (True, "ftllm-nb engine")
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda given: 1 // 0)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.call(lambda given: None)

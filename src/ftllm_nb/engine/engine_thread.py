"""The one thread that owns an executor, and the tasks that callers hand to it.

The engine never runs on the caller's thread: a caller waits on a queue, which Ctrl-C can interrupt, while the
engine thread runs steps. A task that its caller no longer wants is cancelled: a waiting one never runs, a
running one is asked to stop and costs at most one more chunk of one operator. Tasks run one after another, in
the order in which they came.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

from ftllm_nb.engine.executor import Executor
from ftllm_nb.errors import EngineError

Result = TypeVar("Result")

SECONDS_TO_CLOSE = 5.0
"""How long `close` waits for the thread: a step that was asked to stop needs a fraction of a second."""


@dataclass(frozen=True)
class _End:
    error: BaseException | None


class Task(ABC):
    """Work for the engine thread that hands token ids to whoever waits for them."""

    def __init__(self) -> None:
        self.cancelled = False
        self._results: SimpleQueue[int | _End] = SimpleQueue()

    @abstractmethod
    def run(self, executor: Executor) -> None:
        """Do the work, on the engine thread; looks at `cancelled` between steps."""

    def emit(self, token_id: int) -> None:
        """Hand one token id to the caller; never waits."""
        self._results.put(token_id)

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, and why where something went wrong."""
        self._results.put(_End(error))

    def results(self) -> Iterator[int]:
        """What the task emits, as it comes; raises what ended it. Ctrl-C interrupts the waiting."""
        while True:
            result = self._results.get()
            if isinstance(result, int):
                yield result
            elif result.error is not None:
                raise result.error
            else:
                return


class _Call(Task, Generic[Result]):
    """Runs a function of the executor and keeps what it returns."""

    def __init__(self, function: Callable[[Executor], Result]) -> None:
        super().__init__()
        self._function = function
        self.result: Result | None = None

    def run(self, executor: Executor) -> None:
        """Run it, on the engine thread."""
        self.result = self._function(executor)


@dataclass
class _State:
    """What the thread and its handle share; it does not hold the handle, so a forgotten one is collected."""

    executor: Executor
    tasks: SimpleQueue[Task | None] = field(default_factory=SimpleQueue)
    running: Task | None = None
    closed: bool = False
    # Reentrant, since a signal handler or a collected generator may cancel while this thread holds it.
    lock: threading.RLock = field(default_factory=threading.RLock)


class EngineThread:
    """An executor and the thread that runs it, started by the first task. Any thread may call any method."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._start_anew()
        _ENGINES.add(self)
        # A daemon thread that runs compiled code while the interpreter is taken down can crash the process.
        # What is registered last is called first: this thread ends before the executor's own threads do.
        at_exit = partial(_close_if_alive, weakref.ref(self))
        atexit.register(at_exit)
        weakref.finalize(self, atexit.unregister, at_exit).atexit = False

    def submit(self, task: Task) -> None:
        """Queue the task; raises `EngineError` after `close`."""
        with self._state.lock:
            if self._state.closed:
                raise EngineError("the model is closed: load it again to go on.")
            if self._thread.ident is None:
                self._thread.start()
            self._state.tasks.put(task)

    def call(self, function: Callable[[Executor], Result]) -> Result:
        """What the function makes of the executor, run on the engine thread after the tasks before it.

        Raises what the function raises. Ctrl-C while it waits asks a running step to stop.
        """
        task = _Call(function)
        self.submit(task)
        try:
            for _ in task.results():
                pass
        finally:
            self.cancel(task)
        return task.result  # type: ignore[return-value]  # set when the results ended

    def cancel(self, task: Task) -> None:
        """Let the task end soon, or never run: nobody wants the rest. Harmless once it has ended."""
        with self._state.lock:
            task.cancelled = True
            if self._state.running is task:
                self.executor.request_stop()

    def close(self) -> None:
        """End every task, stop the thread and close the executor. May be called again."""
        # Called as a function, the finalizer would do nothing while the interpreter exits.
        if self._finalizer.detach():
            _shut_down(self._state, self._thread)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(SECONDS_TO_CLOSE)

    def _start_anew(self) -> None:
        self._state = _State(self.executor)
        self._thread = threading.Thread(
            target=_serve, args=(self._state,), name="ftllm-nb engine", daemon=True
        )
        self._finalizer = weakref.finalize(self, _shut_down, self._state, self._thread)
        self._finalizer.atexit = False

    def _after_fork(self) -> None:
        """In a forked child, where only the forking thread lives on: a new thread, nothing in progress."""
        before = self._state
        self._finalizer.detach()
        self._start_anew()
        # A step that was running left the executor half way through it.
        self._state.closed = before.closed or before.running is not None
        lost = [before.running]
        while not before.tasks.empty():
            lost.append(before.tasks.get())
        for task in lost:
            if task is not None:
                task.end(EngineError("the process was forked during this answer, which goes on there."))


def _serve(state: _State) -> None:
    while (task := state.tasks.get()) is not None:
        error: BaseException | None = None
        with state.lock:
            if state.closed:
                error = EngineError("the model was closed before this answer began.")
            elif not task.cancelled:
                # Requests to stop that come from here on mean this task.
                state.executor.clear_stop()
                state.running = task
        if state.running is task:
            try:
                task.run(state.executor)
            except BaseException as raised:
                error = raised
            with state.lock:
                state.running = None
        task.end(error)
        # While the thread waits, it keeps no answer and no traceback alive.
        del task, error
    state.executor.close()


def _shut_down(state: _State, thread: threading.Thread) -> None:
    """Let the thread end after what it runs now; does not wait, since the garbage collector may call it."""
    with state.lock:
        state.closed = True
        if state.running is not None:
            state.running.cancelled = True
            state.executor.request_stop()
        state.tasks.put(None)
    if thread.ident is None:
        state.executor.close()


_ENGINES: weakref.WeakSet[EngineThread] = weakref.WeakSet()


def _close_if_alive(reference: weakref.ref[EngineThread]) -> None:
    engine = reference()
    if engine is not None:
        engine.close()


def _restart_all() -> None:
    for engine in list(_ENGINES):
        engine._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)

"""Tasks run in forks, those that fail are left to the caller, and no fork outlives the call."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ftllm_nb.kernels import cache, forks
from ftllm_nb.kernels.compile import Kernel, kernel, prepare
from ftllm_nb.kernels.forks import done_by_forks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux alone")


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "usable_cores", lambda: 2)


def note(folder: Path, name: str) -> None:
    """Leave the number of this process."""
    with (folder / name).open("a") as file:
        file.write(f"{os.getpid()} ")


def noting(folder: Path, count: int) -> list[Callable[[], object]]:
    return [partial(note, folder, str(number)) for number in range(count)]


def children() -> set[int]:
    """The processes that this one has begun and that are not gone."""
    lists = (task / "children" for task in Path("/proc/self/task").iterdir())
    return {int(number) for each in lists for number in each.read_text().split()}


def test_each_task_is_done_once_by_another_process(tmp_path: Path) -> None:
    before = children()
    done: list[int] = []
    done_by_forks(noting(tmp_path, 40), done.append)
    assert sorted(done) == list(range(40))
    numbers = [(tmp_path / str(number)).read_text().split() for number in range(40)]
    assert {len(each) for each in numbers} == {1}
    assert str(os.getpid()) not in {number for each in numbers for number in each}
    assert children() == before


def test_a_task_that_fails_is_left_to_the_caller(tmp_path: Path) -> None:
    tasks = noting(tmp_path, 6)
    tasks[2] = partial(int, "none")
    done: list[int] = []
    done_by_forks(tasks, done.append)
    assert sorted(done) == [0, 1, 3, 4, 5]


def test_tasks_of_a_fork_that_dies_are_left_to_the_caller(tmp_path: Path) -> None:
    tasks = noting(tmp_path, 6)
    tasks[0] = tasks[1] = lambda: os.kill(os.getpid(), signal.SIGKILL)
    done: list[int] = []
    done_by_forks(tasks, done.append)
    assert 0 not in done and 1 not in done


def test_an_interruption_ends_the_forks(tmp_path: Path) -> None:
    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    tasks = [*noting(tmp_path, 1), partial(time.sleep, 60), partial(time.sleep, 60)]
    before = children()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        done_by_forks(tasks, interrupt)
    assert time.monotonic() - began < 30
    assert children() == before


def test_one_core_makes_no_forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "usable_cores", lambda: 1)
    done: list[int] = []
    done_by_forks(noting(tmp_path, 6), done.append)
    assert not done and not list(tmp_path.iterdir())


@kernel(arguments=("int64",), result="int64")
def following(value):
    return value + 1


@kernel(arguments=("int64",), result="int64")
def preceding(value):
    return value - 1


def test_kernels_are_compiled_by_forks_and_come_back_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, kept = tmp_path / "compiled", tmp_path / "cache"
    compiled.mkdir()
    kept.mkdir()
    compile = Kernel.compile

    def noted(self: Kernel) -> None:
        note(compiled, self.name.rpartition(".")[2])
        compile(self)

    monkeypatch.setattr(Kernel, "compile", noted)
    monkeypatch.setattr(cache, "kernel_directory", lambda: kept)
    seen: list[tuple[str, int, int]] = []
    prepare([following, preceding], lambda *progress: seen.append(progress))
    assert seen == [("compile", 1, 2), ("compile", 2, 2)]
    assert (following(41), preceding(43)) == (42, 42)
    assert len(list(kept.glob("*.kernel"))) == 2
    numbers = [(compiled / name).read_text().split() for name in ("following", "preceding")]
    assert [len(each) for each in numbers] == [1, 1] and [str(os.getpid())] not in numbers

"""How many cores this process may use: affinity, physical cores, and the CPU quota of its control groups.

`root` stands for "/" in every function, so that tests can lay out a machine in a folder.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from ftllm_nb.control_groups import ROOT, own_groups, read
from ftllm_nb.errors import UsageError

MAX_THREADS = 1024
UNCAPPED = "FTLLM_NB_UNCAPPED_THREADS"
"""Environment variable: "1" runs as many workers as asked for, however few cores there are."""


def require_threads(threads: int) -> int:
    """`threads` itself; raises `UsageError` unless it is a whole number from 1 to 1024."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise UsageError(
            f"the number of threads must be from 1 to {MAX_THREADS}, a whole number, not {threads!r}."
        )
    return threads


def worker_count(threads: int, warn: Callable[[str], None], root: Path = ROOT) -> int:
    """How many workers to run for that many threads: no more than there are cores, which `warn` is told."""
    require_threads(threads)
    cores = usable_cores(root)
    if threads <= cores or os.environ.get(UNCAPPED) == "1":
        return threads
    noun = "core" if cores == 1 else "cores"
    warn(f"{threads} threads were asked for, but this process may use {cores} {noun}: it runs {cores}.")
    return cores


def usable_cores(root: Path = ROOT) -> int:
    """Logical cores within the affinity mask and the quota, which counts as its next whole number."""
    return _within_quota(len(_affinity()), root, math.ceil)


def default_threads(root: Path = ROOT) -> int:
    """Physical cores within the affinity mask and the quota, of which only whole cores count; at least 1."""
    return _within_quota(len({_siblings(cpu, root) for cpu in _affinity()}), root, math.floor)


def worker_cpus(workers: int, root: Path = ROOT) -> list[int] | None:
    """A logical CPU for each worker to be pinned to; None where the system pins no threads.

    A core's first logical CPU comes before any core's second one; more workers than CPUs share them in turn.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    turns: dict[str, int] = {}
    ordered: list[tuple[int, int]] = []
    for cpu in sorted(_affinity()):
        core = _siblings(cpu, root)
        turns[core] = turns.get(core, -1) + 1
        ordered.append((turns[core], cpu))
    cpus = [cpu for _, cpu in sorted(ordered)]
    return [cpus[worker % len(cpus)] for worker in range(workers)]


def cpu_quota(root: Path = ROOT) -> float | None:
    """CPU time per time that this process' control groups allow, None where they set no limit.

    A group's limit holds for all groups in it, so that the smallest on the way up counts (cgroups(7):
    `cpu.max` in version 2, `cpu.cfs_quota_us` and `cpu.cfs_period_us` in version 1).
    """
    return min(filter(None, map(_group_quota, own_groups("cpu", root))), default=None)


def _within_quota(cores: int, root: Path, whole: Callable[[float], int]) -> int:
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, whole(quota)))


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _siblings(cpu: int, root: Path) -> str:
    """The logical CPUs of a CPU's core, a name of the core."""
    return read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu)


def _group_quota(folder: Path) -> float | None:
    limit = read(folder / "cpu.max").split() or [
        read(folder / "cpu.cfs_quota_us"),
        read(folder / "cpu.cfs_period_us"),
    ]
    try:
        quota, period = map(int, limit)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None

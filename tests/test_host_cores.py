"""Counting cores on machines that are laid out in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm_nb import host_cores
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.errors import UsageError
from ftllm_nb.host_cores import cpu_quota, default_threads, require_threads, usable_cores, worker_count, worker_cpus
from tests.machine_files import write

VERSION_2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
VERSION_1 = (
    "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
)


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_cores, "_affinity", lambda: set(range(8)))


def test_no_files_at_all(tmp_path: Path, eight_cpus: None) -> None:
    assert cpu_quota(tmp_path) is None
    assert usable_cores(tmp_path) == default_threads(tmp_path) == 8


def test_hyperthreads_count_once_by_default_and_each_as_usable(tmp_path: Path, eight_cpus: None) -> None:
    write(
        tmp_path,
        {
            f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 4},{cpu % 4 + 4}\n"
            for cpu in range(8)
        },
    )
    assert default_threads(tmp_path) == 4
    assert usable_cores(tmp_path) == 8


def test_version_2_takes_the_smallest_limit_on_the_way_up(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/slice/unit/inner\n",
            "proc/self/mountinfo": VERSION_2,
            "sys/fs/cgroup/slice/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/slice/unit/cpu.max": "max 100000\n",
            "sys/fs/cgroup/slice/unit/inner/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/other/cpu.max": "10000 100000\n",
        },
    )
    assert cpu_quota(tmp_path) == 2.5


def test_version_1(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/elsewhere\n3:cpu,cpuacct:/docker/a1\n0::/\n",
            "proc/self/mountinfo": VERSION_1,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/a1/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/a1/cpu.cfs_period_us": "50000\n",
        },
    )
    assert cpu_quota(tmp_path) == 3.0


@pytest.mark.parametrize("own_path", ["/docker/a1", "/docker/a1/../../elsewhere", "/"])
def test_a_container_sees_its_own_group_as_the_root_of_the_mount(tmp_path: Path, own_path: str) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": f"3:cpu,cpuacct:{own_path}\n",
            "proc/self/mountinfo": VERSION_1.replace("0:28 /", "0:28 /docker/a1"),
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    assert cpu_quota(tmp_path) == 2.0


@pytest.mark.parametrize(
    ("limit", "usable", "default"),
    [
        ("150000 100000", 2, 1),
        ("50000 100000", 1, 1),
        ("300000 100000", 3, 3),
        ("9900000 100000", 8, 8),
        ("max 100000", 8, 8),
        ("nonsense", 8, 8),
        ("0 0", 8, 8),
        ("100000", 8, 8),
    ],
)
def test_parts_of_cores(tmp_path: Path, eight_cpus: None, limit: str, usable: int, default: int) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": VERSION_2,
            "sys/fs/cgroup/cpu.max": limit,
        },
    )
    assert (usable_cores(tmp_path), default_threads(tmp_path)) == (usable, default)


@pytest.mark.parametrize("content", ["", "nonsense\n", "0::\n1:\n", "a b c\n"])
def test_files_of_another_form_set_no_limit(tmp_path: Path, content: str) -> None:
    write(tmp_path, {"proc/self/cgroup": content, "proc/self/mountinfo": content + VERSION_2})
    assert cpu_quota(tmp_path) is None


def test_this_machine() -> None:
    assert 1 <= default_threads() <= usable_cores() <= 4096


def test_more_threads_than_cores_run_as_many_as_there_are(
    tmp_path: Path, eight_cpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FTLLM_NB_UNCAPPED_THREADS", raising=False)
    said: list[str] = []
    assert [worker_count(threads, said.append, tmp_path) for threads in (1, 8)] == [1, 8]
    assert said == []
    assert worker_count(1024, said.append, tmp_path) == 8
    assert said == ["1024 threads were asked for, but this process may use 8 cores: it runs 8."]
    monkeypatch.setenv("FTLLM_NB_UNCAPPED_THREADS", "1")
    assert worker_count(16, said.append, tmp_path) == 16 and len(said) == 1


@pytest.mark.parametrize("threads", [0, -1, 1025, 9999, 2.0, True, "4", None])
def test_numbers_of_threads_out_of_bounds(threads: object) -> None:
    with pytest.raises(UsageError, match=r"from 1 to 1024, a whole number, not "):
        require_threads(threads)  # type: ignore[arg-type]


def test_workers_are_spread_over_cores_before_second_threads_of_a_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_cores, "_affinity", lambda: {0, 1, 2, 3, 6, 7})
    monkeypatch.setattr(host_cores.os, "sched_setaffinity", print, raising=False)
    write(
        tmp_path,
        {
            f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}\n"
            for cpu in range(8)
        },
    )
    assert worker_cpus(3, tmp_path) == [0, 2, 6]
    assert worker_cpus(6, tmp_path) == [0, 2, 6, 1, 3, 7]
    assert worker_cpus(8, tmp_path) == [0, 2, 6, 1, 3, 7, 0, 2]


def test_a_system_that_pins_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(host_cores.os, "sched_setaffinity", raising=False)
    assert worker_cpus(2) is None
    said: list[str] = []
    EngineOptions(threads=1, pin=True).check(said.append)
    assert said == ["threads are not pinned: this system lets no program choose their cores."]

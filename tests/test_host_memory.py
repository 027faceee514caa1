"""Counting memory on machines that are laid out in a folder: control groups of both versions, and own limits."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ftllm_nb.engine import block_memory, weight_loading
from ftllm_nb.host_memory import available_bytes, obtainable_bytes
from tests.machine_files import write

MB = 1 << 20
MEMINFO = "MemTotal: 99999999 kB\nMemAvailable:    8192000 kB\nSwapFree: 1024000 kB\n"
FREE, SWAP = 8000 * MB, 1000 * MB
VERSION_2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
VERSION_1 = "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
SCOPE = "sys/fs/cgroup/user.slice/run-1.scope"
GROUP_1 = "sys/fs/cgroup/memory/docker/a1"

V2 = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/user.slice/run-1.scope\n", "proc/self/mountinfo": VERSION_2}
V1 = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "4:memory:/docker/a1\n0::/\n", "proc/self/mountinfo": VERSION_1}
LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max data size             {data}            unlimited            bytes     \n"
    "Max address space         {address}            unlimited            bytes     \n"
)
STATUS = "Name:\tpython\nVmSize:\t  102400 kB\nVmData:\t   51200 kB\n"


@pytest.mark.parametrize(
    "files, available, obtainable",
    [
        ({}, None, None),
        ({"proc/meminfo": MEMINFO}, FREE, FREE + SWAP),
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    5 kB\n"}, 5120, 5120),
        ({"proc/meminfo": "nonsense\nMemAvailable: many kB"}, None, None),
        # Version 2, below the root of the mount: a scope of systemd, or the slice around it.
        ({**V2, f"{SCOPE}/memory.max": f"{500 * MB}\n", f"{SCOPE}/memory.current": f"{100 * MB}\n"},
         400 * MB, 400 * MB + SWAP),
        ({**V2, "sys/fs/cgroup/user.slice/memory.max": str(300 * MB), f"{SCOPE}/memory.max": "max",
          "sys/fs/cgroup/user.slice/memory.current": str(100 * MB)}, 200 * MB, 200 * MB + SWAP),
        ({**V2, f"{SCOPE}/memory.max": str(500 * MB), f"{SCOPE}/memory.current": str(100 * MB),
          f"{SCOPE}/memory.swap.max": "0"}, 400 * MB, 400 * MB),
        ({**V2, f"{SCOPE}/memory.max": str(500 * MB), f"{SCOPE}/memory.current": str(100 * MB),
          f"{SCOPE}/memory.swap.max": str(50 * MB), f"{SCOPE}/memory.swap.current": str(20 * MB)}, 400 * MB, 430 * MB),
        ({**V2, f"{SCOPE}/memory.max": str(500 * MB), f"{SCOPE}/memory.current": str(450 * MB),
          f"{SCOPE}/memory.swap.max": "0",
          f"{SCOPE}/memory.stat": f"anon 5\ninactive_file {300 * MB}\nactive_file {50 * MB}\n"}, 400 * MB, 400 * MB),
        ({**V2, f"{SCOPE}/memory.max": "max", f"{SCOPE}/memory.high": str(200 * MB),
          f"{SCOPE}/memory.current": str(50 * MB)}, 150 * MB, FREE + SWAP),
        ({**V2, f"{SCOPE}/memory.max": "max", f"{SCOPE}/memory.current": "1"}, FREE, FREE + SWAP),
        ({**V2, "sys/fs/cgroup/other/memory.max": "1"}, FREE, FREE + SWAP),
        # Version 1.
        ({**V1, f"{GROUP_1}/memory.limit_in_bytes": str(600 * MB), f"{GROUP_1}/memory.usage_in_bytes": str(400 * MB),
          f"{GROUP_1}/memory.stat": f"inactive_file 9\ntotal_inactive_file {90 * MB}\ntotal_active_file {10 * MB}\n"},
         300 * MB, 300 * MB + SWAP),
        ({**V1, f"{GROUP_1}/memory.limit_in_bytes": str(600 * MB), f"{GROUP_1}/memory.usage_in_bytes": "0",
          f"{GROUP_1}/memory.memsw.limit_in_bytes": str(650 * MB)}, 600 * MB, 650 * MB),
        ({**V1, f"{GROUP_1}/memory.limit_in_bytes": "9223372036854771712", f"{GROUP_1}/memory.usage_in_bytes": "1",
          "sys/fs/cgroup/memory/memory.limit_in_bytes": str(700 * MB)}, 700 * MB, 700 * MB + SWAP),
        ({**V1, f"{GROUP_1}/memory.limit_in_bytes": "10", f"{GROUP_1}/memory.usage_in_bytes": "20",
          f"{GROUP_1}/memory.memsw.limit_in_bytes": "10"}, 0, 0),
        # ulimit -v and -d.
        ({"proc/meminfo": MEMINFO, "proc/self/status": STATUS,
          "proc/self/limits": LIMITS.format(data="unlimited", address=300 * MB)}, 200 * MB, 200 * MB),
        ({"proc/meminfo": MEMINFO, "proc/self/status": STATUS,
          "proc/self/limits": LIMITS.format(data=150 * MB, address="unlimited")}, 100 * MB, 100 * MB),
        ({"proc/meminfo": MEMINFO, "proc/self/limits": LIMITS.format(data="unlimited", address="unlimited")},
         FREE, FREE + SWAP),
    ],
)  # fmt: skip
def test_the_smallest_limit_counts(
    tmp_path: Path, files: dict[str, str], available: int | None, obtainable: int | None
) -> None:
    write(tmp_path, files)
    assert (available_bytes(tmp_path), obtainable_bytes(tmp_path)) == (available, obtainable)


def test_this_machine() -> None:
    available, obtainable = available_bytes(), obtainable_bytes()
    assert (available is None) == (obtainable is None)
    assert available is None or obtainable is None or obtainable > available // 2 > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a process holds")
def test_a_limit_of_this_process() -> None:
    """As `ulimit -v` sets it: what is left is less than the limit, by what the interpreter holds."""
    program = "from ftllm_nb.host_memory import available_bytes; print(available_bytes())"
    limit = 900 * MB
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert 0 < int(done.stdout) < limit - 5 * MB


def test_there_is_one_reader_of_free_memory() -> None:
    """What `info` says, what refuses weights and what bounds the cache is one number."""
    assert weight_loading.obtainable_bytes is block_memory.obtainable_bytes is obtainable_bytes
    sources = Path(block_memory.__file__).parents[1].rglob("*.py")
    readers = {file.name for file in sources if "MemAvailable" in file.read_text(encoding="utf-8")}
    assert readers == {"host_memory.py"}

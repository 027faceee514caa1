"""Processes that start cold together leave a right cache; damaged files are compiled again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import numpy as np
from ftllm_nb.kernels import elementwise
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS, STEP_TOKENS
from ftllm_nb.engine.threads import ThreadPool
pool = ThreadPool(1)
a, b = np.arange(1, 41, dtype=np.float32), np.full(40, 3, np.float32)
step = np.zeros(STEP_FIELDS, np.int64)
step[STEP_TOKENS] = 1
for kernel, expected in ((elementwise.multiply, a * b), (elementwise.add_scaled, a + 0 * b)):
    out = np.zeros(40, np.float32)
    rows = np.zeros((1, ROW_FIELDS), np.int64)
    rows[0, :10] = (kernel.address, a.ctypes.data, 160, b.ctypes.data, 160, out.ctypes.data, 160, 40, STEP_TOKENS, 0)
    assert pool.run(rows, step)
    assert np.array_equal(out, expected), (kernel, out)
print("right")
"""


def start(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "FTLLM_NB_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def assert_right(process: subprocess.Popen[str]) -> None:
    output, errors = process.communicate(timeout=120)
    assert output == "right\n", errors


def test_four_cold_processes_leave_a_right_cache(tmp_path: Path) -> None:
    processes = [start(tmp_path) for _ in range(4)]
    for process in processes:
        assert_right(process)
    names = [path.name for path in tmp_path.rglob("*.kernel")]
    assert len(names) == 5, names
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "no temporary file is left"
    assert_right(start(tmp_path))


def test_damaged_files_are_compiled_again(tmp_path: Path) -> None:
    assert_right(start(tmp_path))
    for path in tmp_path.rglob("*.kernel"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert_right(start(tmp_path))

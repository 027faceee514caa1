"""Processes that start cold together leave a right cache; damaged files are compiled again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forking.programs import program

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


def start(cache: Path, source: str = PROGRAM) -> subprocess.Popen[str]:
    """A program that has compiled nothing yet, with this cache."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    file = cache.with_suffix(".py")
    file.write_text(source)
    environment = {**os.environ, "FTLLM_NB_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        program(str(file)), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def assert_right(process: subprocess.Popen[str]) -> None:
    output, errors = process.communicate(timeout=120)
    assert output == "right\n", errors


@pytest.mark.slow
def test_four_cold_processes_leave_a_right_cache(tmp_path: Path) -> None:
    """On an empty cache at once, then one more on what they left."""
    cache = tmp_path / "cache"
    for process in [start(cache) for _ in range(4)]:
        assert_right(process)
    names = [path.name for path in cache.rglob("*.kernel")]
    assert len(names) == 5, names
    assert not [path for path in cache.rglob(".*") if path.is_file()], "no temporary file is left"
    assert_right(start(cache))


PRODUCTS = """
import sys
sys.path.insert(0, ROOT)
import numpy as np
from tests.kernels.test_integer_matmul import exact_product, integer_format, product

random = np.random.default_rng(0)
x, weight = random.standard_normal((3, 64), np.float32), random.standard_normal((16, 64), np.float32)
bias = np.zeros(16, np.float32)
for name in NAMES:
    format = integer_format(name)
    assert np.allclose(product(format, x, weight, bias), exact_product(format, x, weight, bias), atol=1e-4), name
print("right")
"""


@pytest.mark.slow
def test_functions_of_one_name_from_different_processes_do_not_clash(tmp_path: Path) -> None:
    """Two processes compile the like for two formats, in the same order; the last ones load the code of both."""

    def products(cache: str, *names: str) -> None:
        source = PRODUCTS.replace("NAMES", repr(names)).replace("ROOT", repr(str(Path(__file__).parents[2])))
        assert_right(start(tmp_path / cache, source))

    for name in ("int8", "int8g32"):
        products(name, name)
        shutil.copytree(tmp_path / name, tmp_path / "both", dirs_exist_ok=True)
    products("both", "int8", "int8g32")
    products("both", "int8g32", "int8")


@pytest.mark.slow
def test_damaged_files_are_compiled_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert_right(start(cache))
    for path in cache.rglob("*.kernel"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert_right(start(cache))


@pytest.mark.slow
def test_code_from_the_cache_imports_nothing_of_what_compiling_needs(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert_right(start(cache))
    fresh = f"{PROGRAM}\nimport sys\nassert 'numba.np.linalg' not in sys.modules\n"
    environment = {**os.environ, "FTLLM_NB_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", fresh], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("right\n", "")


OF_A_USER = """
import numpy as np
from ftllm_nb.kernels.cache import kernel_directory
from ftllm_nb.kernels.compile import kernel

@kernel(("int64",), "float64")
def takes_memory(count):
    return np.arange(count).astype(np.float64).sum()

@kernel(("int64",), "int64")
def hashes_texts(count):
    return hash(str(count)) == hash(str(10))

kept = len(list(kernel_directory().glob("*.kernel")))
for own, answer in ((takes_memory, 45.0), (hashes_texts, 1)):
    assert own.load() == (kept == 2)
    assert own(10) == answer
print("right")
"""


@pytest.mark.slow
def test_code_from_the_cache_finds_what_it_refers_to(tmp_path: Path) -> None:
    """Numba's memory and texts, which no kernel of this package uses: a process that lacks them ends at once."""
    assert_right(start(tmp_path / "cache", OF_A_USER))
    assert len(list(tmp_path.rglob("*.kernel"))) == 2
    assert_right(start(tmp_path / "cache", OF_A_USER))

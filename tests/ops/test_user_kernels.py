"""Kernels in users' files: an edit in the file, or in a helper that it imports, never meets old machine code."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.forking.programs import program

OPERATOR = """
from helpers.constants import ADDED
from helpers import scale
from ftllm_nb.kernels.compile import kernel

@kernel(("int64",), "int64")
def answer(value):
    return scale.by_factor(value) + ADDED

print(answer(4))
"""
SCALE = """
import numba
from .factors import FACTOR

@numba.njit
def by_factor(x):
    return FACTOR * x
"""
FILES = {
    "my_operator.py": OPERATOR,
    "helpers/__init__.py": "",
    "helpers/constants.py": "ADDED = 1\n",
    "helpers/scale.py": SCALE,
    "helpers/factors.py": "FACTOR = 10\n",
}


@pytest.fixture
def answer(tmp_path: Path) -> Callable[..., int]:
    """What the operator's file prints in a new process, with files that differ from those above as given."""

    def run(source: str = "import my_operator", **changed: str) -> int:
        # Files that differ may have the size and the time of those before them.
        main = f"import sys; sys.dont_write_bytecode = True\n{source}\n"
        for name, text in {**FILES, "main.py": main, **changed}.items():
            path = tmp_path / "user" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        environment = {**os.environ, "FTLLM_NB_CACHE_DIR": str(tmp_path / "cache")}
        command = program(str(tmp_path / "user" / "main.py"))
        done = subprocess.run(command, cwd=tmp_path / "user", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    return run


def kernels(tmp_path: Path) -> int:
    return len(list(tmp_path.rglob("*.kernel")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("my_operator.py", "+ ADDED", "- ADDED", 39),
        ("helpers/constants.py", "1", "2", 42),
        ("helpers/factors.py", "10", "7", 29),
        ("helpers/scale.py", "FACTOR * x", "FACTOR + x", 15),
    ],
)
def test_edits_are_noticed(
    answer: Callable[..., int], tmp_path: Path, file: str, old: str, new: str, expected: int
) -> None:
    assert (answer(), answer()) == (41, 41)
    assert kernels(tmp_path) == 1
    assert answer(**{file: FILES[file].replace(old, new)}) == expected
    assert kernels(tmp_path) == 2
    assert answer() == 41
    assert kernels(tmp_path) == 2


@pytest.mark.slow
def test_functions_given_to_a_factory_count(answer: Callable[..., int], tmp_path: Path) -> None:
    factory = """
from ftllm_nb.kernels.compile import kernel

def doubled(function):
    @kernel(("int64",), "int64")
    def twice(value):
        return 2 * function(value)
    return twice
"""
    user = "from helpers.factory import doubled\nfrom helpers.scale import by_factor\nprint(doubled(by_factor)(4))\n"
    files = {"helpers/factory.py": factory, "my_operator.py": user}
    assert answer(**files) == 80
    assert answer(**files, **{"helpers/factors.py": "FACTOR = 7\n"}) == 56
    assert kernels(tmp_path) == 2


PER_ROW = """
from helpers.factors import FACTOR
from ftllm_nb.kernels.per_row import RowArray, per_row_kernel

def row(output):
    output[:] = FACTOR + 1

made = per_row_kernel(row, (RowArray((3,)),))
made.address
print(FACTOR)
"""


@pytest.mark.slow
def test_an_edit_of_a_row_s_function_is_noticed(answer: Callable[..., int], tmp_path: Path) -> None:
    assert (answer(**{"my_operator.py": PER_ROW}), kernels(tmp_path)) == (10, 1)
    assert (answer(**{"my_operator.py": PER_ROW}), kernels(tmp_path)) == (10, 1)
    answer(**{"my_operator.py": PER_ROW.replace("+ 1", "+ 2")})
    assert kernels(tmp_path) == 2
    answer(**{"my_operator.py": PER_ROW, "helpers/factors.py": "FACTOR = 7\n"})
    assert kernels(tmp_path) == 3


def test_what_has_no_file_is_not_kept(answer: Callable[..., int], tmp_path: Path) -> None:
    """As in a notebook, where the same name may hold other code each time."""
    typed = "exec(compile(open('my_operator.py').read(), 'cell', 'exec'), {'__name__': 'notebook'})"
    assert answer(typed) == 41
    assert kernels(tmp_path) == 0

"""`import ftllm` is ftllm-nb where fastllm is not installed, and fastllm where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ftllm_nb

SOURCES = Path(ftllm_nb.__file__).parents[1]


def printed(program: str, *path: Path) -> str:
    """What a program prints whose path begins so."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, SOURCES)))}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_where_fastllm_is_not_installed() -> None:
    program = (
        "from ftllm import llm\nfrom ftllm.llm import ComputeGraph\nimport ftllm, ftllm_nb.llm\n"
        "print(ftllm.__alias_of__, llm is ftllm_nb.llm, ComputeGraph is llm.ComputeGraph, ftllm.__doc__[:8])"
    )
    assert printed(program) == "ftllm_nb True True ftllm-nb"
    assert printed("import ftllm.llm; print(ftllm.llm.model.__module__)") == "ftllm_nb.llm"


def test_an_installed_fastllm_goes_first_wherever_it_lies(tmp_path: Path) -> None:
    package = tmp_path / "site" / "ftllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("who = 'fastllm'\n")
    (package / "llm.py").write_text("who = 'its llm'\n")
    program = "import ftllm\nfrom ftllm import llm\nprint(ftllm.who, llm.who)"
    assert printed(program, package.parent) == "fastllm its llm"
    behind = f"import sys; sys.path.append({str(package.parent)!r})\n{program}"
    assert printed(behind) == "fastllm its llm"
    (package.parent / "ftllm.py").write_text((SOURCES / "ftllm.py").read_text())  # as pip installs both
    assert printed(program, package.parent) == "fastllm its llm"
    (tmp_path / "ftllm.py").write_text((SOURCES / "ftllm.py").read_text())  # as an editable installation may
    assert printed(behind, tmp_path) == "fastllm its llm"


def test_a_folder_that_only_has_the_name_is_no_fastllm(tmp_path: Path) -> None:
    (tmp_path / "ftllm").mkdir()
    assert printed("import ftllm; print(ftllm.__alias_of__)", tmp_path) == "ftllm_nb"

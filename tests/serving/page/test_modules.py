"""The page's modules in node: their syntax, and the tests of those that need no browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ftllm_nb.serving.page import vendored

MODULES = sorted(file for file in vendored.WEB.rglob("*.js") if "vendor" not in file.parts)
LONGEST = 300
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="not installed: node")


@needs_node
def test_modules() -> None:
    tests = sorted(map(str, Path(__file__).parent.glob("modules/*.test.js")))
    done = subprocess.run([str(NODE), "--test", *tests], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@needs_node
def test_syntax() -> None:
    check = "node=$1; shift; for file; do $node --check $file || exit 1; done"
    done = subprocess.run(["sh", "-c", check, "sh", str(NODE), *map(str, MODULES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_file_says_what_it_is_for() -> None:
    assert len(MODULES) > 30
    for file in MODULES:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("// ") and len(lines) <= LONGEST, file


def test_what_is_vendored_has_its_licence() -> None:
    licenses = {file.stem for file in (vendored.WEB / "vendor" / "licenses").iterdir()}
    assert licenses == {package.strip("@").partition("/")[0] for package in vendored.COPIED}


def test_the_lock_names_no_host() -> None:
    lock = (vendored.WEB / "package-lock.json").read_text(encoding="utf-8")
    assert "resolved" not in lock and lock.count("sha512-") >= len(vendored.COPIED)
    named = '{"packages": {"a": {"resolved": "https://x", "integrity": "y"}}}'
    assert "resolved" not in vendored.without_hosts(named)

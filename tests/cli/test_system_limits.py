"""Limits of the system and variables of libraries: one sentence and status 2, or no matter at all."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ftllm_nb.cli import main, system_limits
from ftllm_nb.cli.system_limits import LEAST_FILES, explain
from ftllm_nb.errors import EngineError
from ftllm_nb.host_memory import OwnLimit
from ftllm_nb.kernels import compile as compile_module

MB = 1 << 20


def started(
    *arguments: str, limit: tuple[int, int] | None = None, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own; variables that are None are taken away."""
    variables = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-m", "ftllm_nb", *arguments],
        capture_output=True,
        text=True,
        env=variables,
        preexec_fn=None if limit is None else lambda: resource.setrlimit(limit[0], (limit[1], limit[1])),
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a process holds")
@pytest.mark.parametrize("which, flag", [(resource.RLIMIT_AS, "-v"), (resource.RLIMIT_DATA, "-d")])
def test_too_little_memory_for_any_model(which: int, flag: str) -> None:
    """OpenBLAS and LLVM end the process where they get none: it does not come to that. A version needs neither."""
    done = started("chat", "-m", "hi", limit=(which, 150 * MB))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == ""
    assert f"error: the limit ulimit {flag} {150 << 10} leaves " in done.stderr and "raise the limit" in done.stderr
    assert started("--version", limit=(which, 150 * MB)).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a process holds")
@pytest.mark.parametrize("arguments", [("completion", "bash"), ("list",), ("download", "owner/name")])
def test_too_little_memory_for_a_command_without_a_model(arguments: tuple[str, ...]) -> None:
    """No model is to blame, and libraries that are loaded without memory say nothing of their own."""
    done = started(*arguments, limit=(resource.RLIMIT_AS, 30 * MB))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == ""
    assert f"error: the limit ulimit -v {30 << 10} leaves " in done.stderr and "this command needs" in done.stderr


@pytest.mark.parametrize("arguments", [("server", "--port", "0"), ("list",)])
def test_too_few_open_files(arguments: tuple[str, ...]) -> None:
    done = started(*arguments, limit=(resource.RLIMIT_NOFILE, LEAST_FILES - 1))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "error: the limit ulimit -n 15 lets too few files be open at once: raise it to 16.\n"


def test_few_open_files_are_enough() -> None:
    done = started("chat", "-m", "hi", "-t", "1", limit=(resource.RLIMIT_NOFILE, LEAST_FILES))
    assert (done.returncode, done.stderr) == (0, "")


def test_too_little_memory_in_a_control_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_limits, "system_obtainable_bytes", lambda: 50 * 10**6)
    assert main(["chat", "-m", "hi"]) == 2
    assert capsys.readouterr().err.startswith("error: 50.0 MB of memory are free, and the engine alone needs about 120")


def test_variables_of_libraries_do_no_harm() -> None:
    """Those that NumPy, OpenBLAS, Numba and Python read while they are imported, wrong or of no use."""
    done = started(
        "info",
        NUMBA_NUM_THREADS="0",
        OMP_NUM_THREADS="none",
        OPENBLAS_NUM_THREADS="-1",
        OPENBLAS_CORETYPE="none",
        NPY_DISABLE_CPU_FEATURES="NONE",
        PYTHONWARNINGS="error",
        LC_ALL="none",
        LANG="none",
        HOME="/nonexistent",
        TMPDIR="/nonexistent",
        XDG_CACHE_HOME="/proc/none",
        XDG_CONFIG_HOME=None,
        FTLLM_NB_CACHE_DIR=None,
        COLUMNS="none",
        TERM="none",
    )
    assert (done.returncode, done.stderr) == (0, "") and "tier" in done.stdout


def test_what_numba_cannot_read_is_a_line() -> None:
    done = started("info", NUMBA_OPT="most", NUMBA_NUM_THREADS="many")
    assert done.returncode == 0
    assert done.stderr == "warning: Numba cannot read the environment variable NUMBA_OPT, 'most'.\n"


@pytest.mark.parametrize("started_before", [0, 1])
def test_no_more_threads(
    started_before: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ulimit -u has it."""
    start, left = threading.Thread.start, started_before

    def limited(thread: threading.Thread) -> None:
        nonlocal left
        if left <= 0:
            raise RuntimeError("can't start new thread")
        left -= 1
        start(thread)

    monkeypatch.setenv("FTLLM_NB_UNCAPPED_THREADS", "1")
    monkeypatch.setattr(threading.Thread, "start", limited)
    assert main(["chat", "-m", "hi", "-t", "2"]) == 2
    assert capsys.readouterr().err == (
        "error: the system starts no more threads: ask for fewer with --threads, or raise the limit, ulimit -u.\n"
    )


def test_kernels_are_not_compiled_where_llvm_would_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_module, "own_limits", lambda: [OwnLimit("-v", 450 * MB, 30 * 10**6)])
    with pytest.raises(EngineError, match=rf"ulimit -v {450 << 10} leaves 30\.0 MB, and compiling kernels"):
        compile_module.require_room_to_compile()
    monkeypatch.setattr(compile_module, "own_limits", lambda: [OwnLimit("-v", 450 * MB, 90 * 10**6)])
    compile_module.require_room_to_compile()


@pytest.mark.parametrize(
    "error, says",
    [
        (MemoryError(), "not enough memory for this command with these flags (ulimit -v 460800 leaves 1.0 MB)."),
        (ImportError("x.so: failed to map segment from shared object"), "not enough memory"),
        (OSError("Could not find/load shared object file 'libllvmlite.so' from"), "not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (OSError(errno.EMFILE, "Too many open files"), "raise the limit, ulimit -n."),
        (OSError(errno.EFBIG, "File too large"), "raise the limit, ulimit -f."),
        (RuntimeError("can't start new thread"), "ulimit -u."),
        (RuntimeError("something else"), None),
        (OSError(errno.EIO, "Input/output error"), None),
        (ValueError("x"), None),
    ],
)
def test_errors_of_limits(error: Exception, says: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_limits, "own_limits", lambda: [OwnLimit("-v", 450 * MB, 10**6)])
    sentence = explain(error)
    assert sentence is None if says is None else sentence is not None and says in sentence


def test_files_may_not_grow(tmp_path: Path) -> None:
    """As ulimit -f has it: the new folder is not there, and nothing half-written is. (Kernels are smaller.)"""
    done = started("quantize", "demo", "-o", str(tmp_path / "out"), limit=(resource.RLIMIT_FSIZE, MB))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert not (tmp_path / "out").exists()

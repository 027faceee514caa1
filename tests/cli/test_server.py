"""`ftllm-nb server` and `ftllm-nb webui`: what they refuse before they listen."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftllm_nb
from ftllm_nb.cli import main
from ftllm_nb.errors import UsageError

DEMO = Path(ftllm_nb.__file__).parent / "demo"


def no_folder(folder: Path) -> None:
    """Nothing lies there."""


def gguf_file(folder: Path) -> None:
    folder.write_bytes(b"GGUF")


def empty(folder: Path) -> None:
    folder.mkdir()


def copy_of_demo(folder: Path, **changes: Any) -> None:
    shutil.copytree(DEMO, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def unknown_architecture(folder: Path) -> None:
    copy_of_demo(folder, model_type="none", architectures=["NoneForCausalLM"])


def wrong_architecture(folder: Path) -> None:
    copy_of_demo(folder, model_type="gpt2", architectures=["GPT2LMHeadModel"])


def without_tokenizer(folder: Path) -> None:
    copy_of_demo(folder)
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize("command", ["server", "webui"])
@pytest.mark.parametrize(
    "make, says",
    [
        (no_folder, "no such folder"),
        (gguf_file, "is truncated"),
        (empty, "holds no config.json"),
        (unknown_architecture, "model_type 'none'"),
        (wrong_architecture, "gpt2"),
        (without_tokenizer, "has no tokenizer"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_no_model_is_refused_before_it_listens(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    make: Callable[[Path], None],
    says: str,
) -> None:
    run = pytest.importorskip("ftllm_nb.serving.run")
    monkeypatch.setattr(run, "run_server", None)
    make(tmp_path / "model")
    assert main([command, "-p", str(tmp_path / "model"), "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and says in said and said.count("\n") == 1


def test_a_server_that_cannot_run_says_so_though_the_model_is_still_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    run = pytest.importorskip("ftllm_nb.serving.run")

    def fail(self: object, sockets: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(run._Server, "run", fail)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    loading = threading.Event()
    threading.Timer(0.2, loading.set).start()

    def load() -> Any:
        loading.wait()
        raise UsageError("it is loaded no more.")

    with pytest.raises(OSError, match="Too many open files"):
        run.run_server(run.ServerOptions(port=0), load, lambda sentence: None)

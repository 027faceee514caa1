"""`ftllm-nb server` and `ftllm-nb webui`: what they refuse before they listen."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm_nb.cli import main


@pytest.mark.parametrize("command", ["server", "webui"])
@pytest.mark.parametrize("name", ["nowhere", "model.gguf", "empty"])
def test_a_path_that_is_no_model_is_refused_before_it_listens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, name: str
) -> None:
    run = pytest.importorskip("ftllm_nb.serving.run")
    monkeypatch.setattr(run, "run_server", None)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "empty").mkdir()
    assert main([command, "-p", str(tmp_path / name), "--port", "0"]) == 2
    said = capsys.readouterr().err
    expected = {"nowhere": "no such folder", "model.gguf": "is truncated", "empty": "holds no config.json"}
    assert said.startswith(f"error: {tmp_path / name}") and expected[name] in said and said.count("\n") == 1

"""`ftllm-nb init`: a file that runs, what is said of it, and one sentence for what cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import ftllm_nb
from ftllm_nb import loading
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.cli import main

DEMO = Path(ftllm_nb.__file__).parent / "demo"


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    """The demo's weights under a model_type that nobody knows."""
    folder = tmp_path / "unknown"
    shutil.copytree(DEMO, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "novel", "architectures": ["Novel"]}))
    return folder


def test_the_file_runs_at_once(unknown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my_model.py"
    assert main(["init", str(unknown), "-o", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file} is written."
    assert lines[1].startswith("The nearest known architecture is qwen2: it reads all ")
    assert lines[-2:] == [
        "It runs: 118 operators on 74 weights.", f"Next: ftllm-nb graph {unknown} --custom {file}"
    ]  # fmt: skip
    with open_checkpoint(unknown) as checkpoint:
        assert loading.describe(checkpoint, file).notes == []
    file.write_text("mine")
    assert main(["init", str(unknown), "-o", str(file)]) == 2
    assert capsys.readouterr().err == f"error: {file} exists: name another file, or replace it with --force.\n"
    assert file.read_text() == "mine"
    assert main(["init", str(unknown), "-o", str(file), "--force"]) == 0
    assert "ComputeGraph" in file.read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["my_model.py", "unknown"]


@pytest.mark.parametrize(
    "line, says",
    [
        ("-o x.py", "a model is missing"),
        ("demo", "-o is missing"),
        ("demo -o x.txt", "must name a Python file"),
        ("demo -o /no/such/folder/x.py", "name a file in a folder that there is"),
        ("/no/such/folder -o /tmp/never_written.py", "/no/such/folder"),
    ],
)
def test_one_sentence_for_what_cannot_be(capsys: pytest.CaptureFixture[str], line: str, says: str) -> None:
    assert main(["init", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize("config", [None, {}, {"model_type": "novel", "hidden_size": 8}])
def test_folders_of_which_no_file_can_be_made(
    unknown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], config: dict[str, object] | None
) -> None:
    if config is None:
        (unknown / "config.json").unlink()
    else:
        (unknown / "config.json").write_text(json.dumps(config))
    assert main(["init", str(unknown), "-o", str(tmp_path / "x.py")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "config.json" in err and err.count("\n") == 1
    assert not (tmp_path / "x.py").exists()


def test_why_no_architecture_can_be_made_is_what_is_wrong(
    unknown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((unknown / "config.json").read_text())
    del config["num_hidden_layers"]
    (unknown / "config.json").write_text(json.dumps(config))
    assert main(["init", str(unknown), "-o", str(tmp_path / "x.py")]) == 2
    err = capsys.readouterr().err
    assert "no known architecture can be made of its config.json; llama, the plainest, says: " in err
    assert "num_hidden_layers" in err and "hidden_size" not in err


def test_the_next_command_can_be_copied(unknown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my model.py"
    assert main(["init", str(unknown), "-o", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Next: ftllm-nb graph {unknown} --custom '{file}'"

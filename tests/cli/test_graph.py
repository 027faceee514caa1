"""`ftllm-nb graph`: the table, what is left out, pictures, and one sentence for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ftllm_nb import loading
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.cli import main

MODEL = """
from ftllm.llm import ComputeGraph
from ftllm_nb.models.qwen2 import Qwen2Model


class Model(Qwen2Model):
    def finish_logits(self):
        self.Mul(self.data["last"], 2.0, self.data["forgotten"])


__model__ = Model
"""


def test_the_table_of_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "demo (qwen2)"
    assert lines[2].split() == ["#", "operator", "reads", "writes", "weight", "type", "MB", "FLOPs", "state", "line"]
    assert "── layers 0–5 (× 6), weights model.layers.N" in lines
    (gate,) = (line for line in lines if ".mlp.gate_proj.weight" in line)
    expected = "15 Linear y 256 gate 768 .mlp.gate_proj.weight 768×256 bfloat16 0.393 393 k"
    assert gate.split()[:-1] == expected.split()
    assert lines[-4].startswith("operators  118") and lines[-1].startswith("state      3.1 kB for each position")


def test_check_lists_what_is_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["graph", "--check"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("checked: 118 operators") and out.endswith("nothing is left out.\n") and err == ""
    (tmp_path / "model.py").write_text(MODEL)
    assert main(["graph", "demo", "--custom", str(tmp_path / "model.py"), "--check"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert 'nothing reads data "forgotten", which Mul (operator 119) writes.' in first
    assert "model.py:8: " in first and last.endswith("the rest is read.")


def test_json_is_what_custom_reads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["graph", "demo", "--json"]) == 0
    file = tmp_path / "model.json"
    file.write_text(capsys.readouterr().out)
    assert json.loads(file.read_text())["graph"][0]["type"] == "Embedding"
    with open_checkpoint(loading.model_folder("demo")) as checkpoint:
        assert len(loading.describe(checkpoint, file).nodes) == 118


def test_what_is_run_has_fewer_operators(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "demo", "--fused", "--dtype", "int8g32"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("demo (qwen2), as it is run\n")
    assert "LinearGroup" in out and "SiluMultiply" in out and "AddRMSNorm" in out


def test_pictures_are_written_whole(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    svg, dot = tmp_path / "a.svg", tmp_path / "a.dot"
    assert main(["graph", "demo", "--svg", str(svg), "--dot", str(dot)]) == 0
    assert capsys.readouterr().out == f"{svg} is written.\n{dot} is written.\n"
    assert ElementTree.parse(svg).getroot().tag.endswith("svg") and dot.read_text().startswith("digraph")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.dot", "a.svg"]


@pytest.mark.parametrize(
    "line, says",
    [
        ("--check --json", "--check and --json were given: give one of them."),
        ("--json --svg x.svg", "--json and --svg were given: give one of them."),
        ("--json --fused", "--json is the graph as it was described"),
        ("--dtype int8", "--dtype is of what is run: give it with --fused."),
        ("--svg /no/such/folder/x.svg", "cannot be written: name a file in a folder that there is."),
        ("--svg x.png", "--svg 'x.png' must name a file that ends in .svg."),
        ("--dot my_model.py", "--dot 'my_model.py' must name a file that ends in .dot or .gv."),
        ("--svg /", "cannot be written: name a file in a folder that there is."),
        ("/no/such/model", "/no/such/model"),
        ("demo --custom /no/such/file.py", 'there is no file "/no/such/file.py"'),
    ],
)
def test_one_sentence_for_what_cannot_be(capsys: pytest.CaptureFixture[str], line: str, says: str) -> None:
    assert main(["graph", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err and err.startswith("error: ") and err.count("\n") == 1


def test_a_graph_that_cannot_be_built_is_told_at_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text(MODEL.replace('self.data["last"], 2.0', 'self.data["nothing"], 2.0'))
    assert main(["graph", "demo", "--custom", str(file)]) == 2
    assert f'error: {file}:8: Mul (operator 119) reads data "nothing"' in capsys.readouterr().err

"""docs/custom_model.md is true: its commands run one after the other, its calls are those of the operators."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

import ftllm_nb
from ftllm_nb.cli import build_parser, main
from ftllm_nb.graph.compute_graph import ComputeGraph

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {name: (DOCS / name).read_text(encoding="utf-8") for name in ("custom_model.md", "custom_model_zh.md")}
ONLY_PARSED = {"server", "verify"}
"""One does not end, the other wants transformers; both have tests of their own."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def test_both_languages_have_the_same_commands_and_calls() -> None:
    for language in ("sh", "python"):
        assert blocks("custom_model.md", language) == blocks("custom_model_zh.md", language) != []


def test_the_commands_lead_from_a_checkpoint_to_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(Path(ftllm_nb.__file__).parent / "demo", "my-model")
    config = json.loads(Path("my-model/config.json").read_text())
    Path("my-model/config.json").write_text(json.dumps(config | {"model_type": "novel", "architectures": ["Novel"]}))
    lines = [line for block in blocks("custom_model.md", "sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines]
    assert [command[0] for command in commands] == "init graph graph graph verify quantize chat server".split()
    parser = build_parser()
    for command in commands:
        if command[0] not in ONLY_PARSED:
            extra = ["-t", "1"] if command[0] in ("quantize", "chat") else []
            assert main([*command, *extra]) == 0, command
        elif command[0] in parser.commands:
            parser.parse_args(command)
    assert capsys.readouterr().out.rstrip().endswith("42")
    assert {each.name for each in tmp_path.iterdir()} == {"my-model", "my_model.py", "my_model.svg", "my-int8"}


def test_the_calls_are_taken() -> None:
    """Each snippet is recorded, which finds unknown operators, and arguments that are missing or of the wrong kind."""
    names = "num_experts num_experts_per_tok embedding_multiplier residual_multiplier final_logit_softcapping".split()
    config = dict.fromkeys([*names, "sliding_window"], 2) | {"partial_rotary_factor": 0.5, "layer_types": ["full"]}
    for snippet in blocks("custom_model.md", "python"):
        graph = ComputeGraph(config)
        given = {
            "self": graph, "config": graph.config, "weight": graph.weight, "data": graph.data, "i": 0, "eps": 1e-6,
            "layer": graph.weight["model.layers."][0], "head_dim": 64, "heads": 4,
        }  # fmt: skip
        exec(snippet, given)
        assert graph.calls


def test_the_reference_is_up_to_date() -> None:
    module = runpy.run_path(str(DOCS / "operator_reference.py"))
    assert (DOCS / "operator_reference.md").read_text(encoding="utf-8") == module["page"](), (
        "run python docs/operator_reference.py"
    )


def test_the_examples_of_the_reference_are_taken() -> None:
    graph = ComputeGraph({"rms_norm_eps": 1e-6})
    text = (DOCS / "operator_reference.md").read_text(encoding="utf-8")
    given = {"self": graph, "config": graph.config, "data": graph.data, "layer": graph.weight["l"], "i": 0}
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for example in examples:
        exec(example, given)
    assert len(graph.calls) == len(examples)

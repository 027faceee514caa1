"""Mistakes in an operator of a user's own: each is one sentence that names the user's line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm_nb import llm
from ftllm_nb.errors import GraphError

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_operator.py"
WITHOUT_KERNEL = ("def lower(cls", "def not_yet(cls")
REFERENCE = "return silu(input0) * input1"

MISTAKES = [
    ([("operators = (Gate,)", "operators = Gate")], "operators must be a tuple of subclasses of Operator"),
    ([("    operators = (Gate,)\n", "")], 'no operator "Gate": name it in the class, operators = (Gate,)'),
    ([("def infer(input0, input1)", "def infer(input0)")], "its infer() raised TypeError"),
    ([("        return input0\n", "        return None\n")], "infer() must return a TensorType for each of output"),
    ([("lowering.count(", "lowering.kount(")], "its lower() raised AttributeError"),
    ([("x * sigmoid(x)", "x * sigmoyd(x)")], "the kernel gate_kernel does not compile: NameError"),
    ([("x * sigmoid(x)", "x * 'a'")], "the kernel gate_kernel does not compile: No implementation"),
    ([WITHOUT_KERNEL, (REFERENCE, "return 1 / 0")], "its reference() raised ZeroDivisionError"),
    ([WITHOUT_KERNEL, (REFERENCE, "return silu(input0)[..., :5]")], "where its infer() says [1, tokens, 768]"),
]


def response_logits(tmp_path: Path, changes: list[tuple[str, str]]) -> tuple[Path, object]:
    """The file as changed, and what a model of it computes."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file = tmp_path / "model.py"
    file.write_text(text, encoding="utf-8")
    with llm.model("demo", graph=file, threads=1) as model:
        return file, model.response_logits("What is 1 + 2?").argmax()


@pytest.mark.parametrize("changes, says", MISTAKES, ids=[says for _, says in MISTAKES])
def test_a_mistake_is_a_sentence_at_its_line(tmp_path: Path, changes: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(GraphError) as raised:
        response_logits(tmp_path, changes)
    said = str(raised.value)
    assert said.startswith(f"{tmp_path / 'model.py'}:") and said.split(":")[1].isdigit() and says in said


def test_without_a_kernel_the_definition_runs(tmp_path: Path) -> None:
    assert response_logits(tmp_path, [WITHOUT_KERNEL])[1] == response_logits(tmp_path, [])[1]

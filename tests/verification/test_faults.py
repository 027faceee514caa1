"""Planted faults are named, beside transformers, and right graphs raise no alarm."""

from __future__ import annotations

import difflib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from ftllm_nb.errors import CheckpointError
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.custom_file import load_graph_class
from ftllm_nb.graph.references import DataReference
from ftllm_nb.verification.reference import Reference
from ftllm_nb.verification.run import reference_of, verify
from tests.oracle.architectures import ARCHITECTURES
from tests.verification.conftest import Row
from tests.verification.faults import CONFIGS, FAULTS, GRAPHS, Fault

pytestmark = pytest.mark.oracle
pytest.importorskip("torch", reason="`make oracle` installs it")
pytest.importorskip("transformers", reason="`make oracle` installs it")
pytest.importorskip("tests.oracle.torch_models", reason="registers what transformers lacks")
from tests.oracle.test_architectures import ROWS, random_model  # noqa: E402

MOST_SECONDS = 15.0
UNNAMED = 2
"""Of forty faults so many may be named elsewhere; of ours as large a share."""
Known = Callable[[str], tuple[Path, Reference]]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    """By model: its folder, and what transformers computes."""

    @cache
    def of(model: str) -> tuple[Path, Reference]:
        architecture, changes = CONFIGS[model]
        folder = tmp_path_factory.mktemp(model)
        random_model(architecture, changes, folder)
        return folder, reference_of(folder, custom=GRAPHS / f"{model}.py", warn=lambda sentence: None)

    yield of


@pytest.mark.parametrize("model", CONFIGS)
def test_right_files_are_equal(model: str, known: Known) -> None:
    folder, reference = known(model)
    verdict = verify(folder, custom=GRAPHS / f"{model}.py", against=reference, warn=lambda sentence: None)
    assert verdict.agrees, str(verdict)


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of what is tried
@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.model}: {fault.name}" for fault in FAULTS])
def test_fault(fault: Fault, known: Known, found: list[Row], tmp_path: Path) -> None:
    folder, reference = known(fault.model)
    file = tmp_path / "model.py"
    file.write_text(fault.source, encoding="utf-8")
    started = time.thread_time()
    verdict = verify(folder, custom=file, against=reference, warn=lambda sentence: None)
    seconds = time.thread_time() - started
    assert not verdict.agrees and verdict.call is not None, str(verdict)
    named = where_named(fault, verdict.call, file, folder)
    sentence = verdict.cause.sentence if verdict.cause is not None else ""
    found.append(Row(f"{fault.model}: {fault.name}", named, f"{verdict.call.operator.name}: {sentence}", seconds))
    assert fault.cause in sentence, str(verdict)
    assert seconds < MOST_SECONDS


def test_a_model_that_transformers_does_not_know(known: Known, tmp_path: Path) -> None:
    folder = shutil.copytree(known("llama")[0], tmp_path / "zebra")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "zebra"}))
    with pytest.raises(CheckpointError) as raised:
        verify(folder, custom=GRAPHS / "llama.py")
    said = str(raised.value)
    assert said.endswith("compare with --against FOLDER, a folder of the same weights that it knows.")
    assert said.count(". ") == 0 and "`zebra`" in said


def test_nearly_all_were_named(found: list[Row]) -> None:
    if len(found) < len(FAULTS):
        pytest.skip("not all faults were planted")
    elsewhere = [row for row in found if row.named == "another line"]
    assert len(FAULTS) >= 40 and len(elsewhere) <= UNNAMED * len(FAULTS) // 40, elsewhere


def where_named(fault: Fault, call: Call, file: Path, folder: Path) -> str:
    """Whether the call stands in a line that differs from the right file's, or reads or writes the same data."""
    right = (GRAPHS / f"{fault.model}.py").read_text(encoding="utf-8").splitlines()
    matcher = difflib.SequenceMatcher(a=right, b=file.read_text(encoding="utf-8").splitlines(), autojunk=False)
    lines: set[int] = set()
    for tag, _, _, start, end in matcher.get_opcodes():
        if tag != "equal":  # where lines are missing, those around the place
            lines |= set(range(start + 1, end + 1)) if end > start else {start, start + 1}
    if call.line in lines or any(_begins(file, line) == call.line for line in lines):
        return "the line"
    calls = recorded(file, folder)
    faulty = [each for each in calls if each.line in lines or each.line in {_begins(file, line) for line in lines}]
    own = next(each for each in calls if each.index == call.index)
    near = {id(calls[index]) for each in faulty for index in (each.index - 1, each.index + 1) if index < len(calls)}
    shares = any(_data(own) & _data(each) and abs(own.index - each.index) <= 4 for each in faulty)
    return "its neighbour" if shares or id(own) in near else "another line"


def recorded(file: Path, folder: Path) -> list[Call]:
    """The calls of the file's graph."""
    from ftllm_nb.checkpoint import open_checkpoint
    from ftllm_nb.graph.build import build_graph

    with open_checkpoint(folder) as checkpoint:
        return build_graph(load_graph_class(file), checkpoint.config).calls


def _begins(file: Path, line: int) -> int:
    """The line in which the call begins that goes on in this one."""
    lines = file.read_text(encoding="utf-8").splitlines()
    while 1 < line <= len(lines) and not lines[line - 1].lstrip().startswith("self."):
        line -= 1
    return line


def _data(call: Call) -> set[str]:
    return {each.name for each in call.arguments.values() if isinstance(each, DataReference)} - {
        "positionIds", "attentionMask", "seqLens", "sin", "cos",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "number"), ROWS, ids=[f"{name}-{number}" for name, number in ROWS])
def test_right_architectures_raise_no_alarm(architecture: str, number: int, tmp_path: Path) -> None:
    if architecture.startswith("telechat"):
        pytest.skip("transformers has no TeleChat: that of tests/oracle reads no folder")
    random_model(architecture, ARCHITECTURES[architecture][number], tmp_path)
    verdict = verify(tmp_path, against="transformers", warn=lambda sentence: None)
    assert verdict.agrees, str(verdict)

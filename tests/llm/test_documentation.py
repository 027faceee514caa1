"""docs/python_api.md is true and whole: what it calls here is here, and what it calls missing says so."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftllm_nb import llm
from ftllm_nb.errors import UsageError
from ftllm_nb.llm.absent import ABSENT_FUNCTIONS, ABSENT_METHODS

TEXT = (Path(__file__).parents[2] / "docs" / "python_api.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, str]:
    """Name → here, accepted or no."""
    section = TEXT.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (here|accepted|no) \|", section, re.MULTILINE))


FUNCTIONS = table("Functions of `llm`")
ARGUMENTS = table("Arguments of `llm.model`")
METHODS = table("Methods of a model")


@pytest.fixture(scope="module")
def model() -> Iterator[llm.Model]:
    with llm.model("demo", threads=1) as loaded:
        yield loaded


def test_functions(model: llm.Model) -> None:
    assert {name for name, state in FUNCTIONS.items() if state == "no"} == set(ABSENT_FUNCTIONS)
    assert {name for name, state in FUNCTIONS.items() if state == "here"} == set(llm.__all__) - {"Model"}
    for name in ABSENT_FUNCTIONS:
        with pytest.raises(UsageError, match=f"^{name}: .*[.]$"):
            getattr(llm, name)("cuda:0")


def test_names_are_listed_before_they_are_imported() -> None:
    program = "import sys; from ftllm_nb import llm; print(set(llm.__all__) - {*dir(llm)}, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set() False\n"


def test_arguments() -> None:
    parameters = inspect.signature(llm.model).parameters
    for name, state in ARGUMENTS.items():
        assert name in parameters
        if state == "no":
            with pytest.raises(UsageError, match=f"^{name}: "):
                llm.model("demo", **{name: "something"})  # type: ignore[arg-type]
    beyond = re.search(r"Keywords beyond fastllm's: (.*?)\.\n", TEXT, re.DOTALL)
    assert beyond is not None
    assert set(parameters) - set(ARGUMENTS) == set(re.findall(r"`(\w+)`", beyond[1]))


def test_methods(model: llm.Model) -> None:
    assert {name for name, state in METHODS.items() if state == "no"} == set(ABSENT_METHODS)
    for name in ABSENT_METHODS:
        with pytest.raises(UsageError, match=f"^{name}: .*[.]$"):
            getattr(model, name)()
    beyond = re.search(r"Beyond fastllm's: (.*?)\.\n", TEXT, re.DOTALL)
    assert beyond is not None
    named = set(METHODS) - set(ABSENT_METHODS) | set(re.findall(r"`(\w+)`", beyond[1])) - {"with"}
    assert named == {name for name in dir(model) if not name.startswith("_")}


def test_names_that_nobody_has_are_attribute_errors(model: llm.Model) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = llm.nothing
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = model.nothing


def test_defaults_are_those_in_the_text() -> None:
    written = re.search(r"Defaults are fastllm's\*\*: `(.*?)`", TEXT, re.DOTALL)
    assert written is not None
    expected = {name: eval(value) for name, value in re.findall(r"(\w+)=([\w.]+)", written[1])}
    asking = ("response", "stream_response", "launch_stream_response", "stream_response_async")
    for method in (getattr(llm.Model, name) for name in asking):
        parameters = inspect.signature(method).parameters
        assert {name: parameters[name].default for name in expected} == expected
        names = list(parameters)[1:]
        order = ["query", "history", "max_length", "min_length", "do_sample", "top_p", "top_k", "temperature"]
        assert names[:8] == order

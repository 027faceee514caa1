"""What users give to --custom: Python files in fastllm's form, JSON files, and files that are neither."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ftllm_nb.errors import FtllmError, GraphError, UsageError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.custom_file import load_graph_class
from ftllm_nb.graph.references import DataReference

MODEL = """\
from ftllm.llm import ComputeGraph
import math

class Model(ComputeGraph):
    def build(self):
        config = self.config
        config["max_positions"] = 100;
        self.Silu(self.data["x"], self.data["y"]);

__model__ = Model
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.py"


def load(file: Path, text: str | bytes) -> type[ComputeGraph]:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_graph_class(file)


def sentence(file: Path, text: str | bytes, kind: type[FtllmError] = GraphError) -> str:
    """What is said of the text, without the file's name, with which it must begin."""
    with pytest.raises(kind) as raised:
        build_graph(load(file, text), {"hidden_size": 8})
    said = str(raised.value)
    assert said.startswith(f"{file}:") and said.endswith((".", "?")), said
    return said.removeprefix(f"{file}:").lstrip()


def test_fastllm_s_form(file: Path) -> None:
    graph = build_graph(load(file, MODEL), {})
    assert graph.config == {"max_positions": 100}
    (call,) = graph.calls
    assert (call.file, call.line) == (str(file), 8)


@pytest.mark.parametrize(
    "line",
    [
        "from ftllm.llm import ComputeGraph",
        "from ftllm import llm; ComputeGraph = llm.ComputeGraph",
        "import ftllm.llm; ComputeGraph = ftllm.llm.ComputeGraph",
        "from ftllm_nb.llm import ComputeGraph",
    ],
)
def test_imports(file: Path, line: str) -> None:
    assert issubclass(load(file, MODEL.replace("from ftllm.llm import ComputeGraph", line)), ComputeGraph)


@pytest.fixture
def installed() -> Iterator[dict[str, ModuleType]]:
    """A real fastllm that was imported before."""
    modules = {name: ModuleType(name) for name in ("ftllm", "ftllm.llm", "ftllm.util")}
    sys.modules.update(modules)
    yield modules
    for name in modules:
        del sys.modules[name]


def test_an_installed_fastllm_is_hidden_while_loading_and_back_afterwards(
    file: Path, installed: dict[str, ModuleType]
) -> None:
    assert issubclass(load(file, MODEL), ComputeGraph)
    assert {name: sys.modules.get(name) for name in installed} == installed
    sentence(file, "raise ValueError")
    assert {name: sys.modules.get(name) for name in installed} == installed


def test_no_alias_remains(file: Path) -> None:
    load(file, MODEL)
    assert not [name for name in sys.modules if name == "ftllm" or name.startswith("ftllm.")]


def test_a_file_beside_it_is_imported(file: Path, tmp_path: Path) -> None:
    """Each model has its own, edited ones are read anew, and neither what is installed nor the path is touched."""
    path, known = sys.path.copy(), ModuleType("sizes")
    sys.modules["sizes"] = known
    text = "from sizes import LONGEST\nfrom parts.norms import NAME\n" + MODEL.replace("100", "LONGEST")
    text = text.replace('"x"', "NAME")
    try:
        for name, longest in (("one", 5), ("two", 6), ("one", 7)):
            folder = tmp_path / name
            (folder / "parts").mkdir(parents=True, exist_ok=True)
            (folder / "parts" / "__init__.py").touch()
            (folder / "parts" / "norms.py").write_text(f"NAME = '{name}'\n")
            (folder / "sizes.py").write_text(f"LONGEST = {longest}{'  # edited' * longest}\n")
            graph = build_graph(load(folder / "model.py", text), {})
            assert graph.config == {"max_positions": longest}
            assert graph.calls[0].arguments["input"] == DataReference(name)
            assert sys.path == path and sys.modules["sizes"] is known
    finally:
        del sys.modules["sizes"]
    (tmp_path / "one" / "sizes.py").write_text("LONGEST = = 1\n")
    said = sentence(tmp_path / "one" / "model.py", text)
    assert said.startswith("1: the file raised SyntaxError") and "sizes.py" in said


def test_dataclasses_and_encodings(file: Path) -> None:
    text = "# -*- coding: gbk -*-\nfrom __future__ import annotations\nfrom dataclasses import dataclass\n"
    text += MODEL + "\n@dataclass\nclass Size:\n    name: str = '你好'\n__model__.size = Size()\n"
    assert load(file, text.encode("gbk")).size.name == "你好"


def test_json(tmp_path: Path) -> None:
    graph = build_graph(load(tmp_path / "model.py", MODEL), {"vocab_size": 3})
    (tmp_path / "model.JSON").write_text(str(graph), encoding="utf-8")
    again = build_graph(load_graph_class(str(tmp_path / "model.JSON")), {})
    assert again.calls == graph.calls and again.config == graph.config


# Mistakes.


def test_syntax_error(file: Path) -> None:
    assert sentence(file, MODEL.replace("import math", "import math math")).startswith("2: no valid Python: ")


def test_null_bytes(file: Path) -> None:
    assert "no valid Python" in sentence(file, b"x = 1\0\n")


def test_not_utf_8(file: Path) -> None:
    assert "no valid Python" in sentence(file, b"x = '\xff'\n")


def test_no_model(file: Path) -> None:
    assert sentence(file, MODEL.replace("__model__", "model")) == (
        "no __model__: end the file with __model__ = Model."
    )
    assert sentence(file, "") == "no __model__: end the file with __model__ = YourModel."


@pytest.mark.parametrize("value", ["3", "None"])
def test_model_that_is_no_class(file: Path, value: str) -> None:
    said = sentence(file, MODEL.replace("__model__ = Model", f"__model__ = {value}"))
    assert said.startswith("__model__ must be a class that derives from ComputeGraph, but it is ")


def test_model_that_is_an_instance(file: Path) -> None:
    assert sentence(file, MODEL.replace("__model__ = Model", "__model__ = Model()")) == (
        "__model__ must be the class and no instance of it: write __model__ = Model."
    )


def test_model_of_another_class(file: Path) -> None:
    assert sentence(file, "class Model: pass\n__model__ = Model") == (
        "__model__ = Model does not derive from ComputeGraph."
    )


def test_module_that_raises(file: Path) -> None:
    assert sentence(file, "import math\nmath.sqrt(-1)\n").startswith("2: the file raised ValueError: ")


def test_module_that_exits(file: Path) -> None:
    assert sentence(file, "import sys\n\nsys.exit()\n").startswith("3: the file ended the program")


def test_missing_import(file: Path) -> None:
    assert sentence(file, "import no_such_module") == (
        "1: the file raised ModuleNotFoundError: No module named 'no_such_module'."
    )


def with_line(line: str) -> str:
    return MODEL.replace('self.Silu(self.data["x"], self.data["y"]);', line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1 / 0", "8: Model.build() raised ZeroDivisionError: division by zero."),
        ("raise KeyError", "8: Model.build() raised KeyError."),
        ('config["hiden_size"]', '8: config.json has no entry "hiden_size"; did you mean "hidden_size"?'),
        ("import json; json.loads('')", "8: Model.build() raised JSONDecodeError: Expecting value"),
        ("exit()", "8: Model.build() ended the program"),
        ("x = self.data['x'] + 1", '8: data["x"] is a name, and no array to compute with here: call an operator'),
        ("2 * self.data['x']", '8: data["x"] is a name'),
        ("self.data['x'] @ self.weight['w']", '8: data["x"] is a name'),
        ("self.weight['w'] - 1", '8: weight["w"] can be added to a number and multiplied by one'),
        ("self.data['x'] = 1", "8: data[…] and weight[…] are names, not tables: nothing is assigned"),
        ("self.data.hidden", '8: data[…] and weight[…] are names of tensors: write ["hidden"] for .hidden.'),
        ("self.data['x'].shape", '8: data[…] and weight[…] are names: "x" has no .shape.'),
        ("self.weight['w'].row(0, 4)", '8: data[…] and weight[…] are names: "w" has no .row; did you mean "rows"?'),
        ("self.Siluu()", '8: there is no operator "Siluu"; did you mean "Silu" or '),
    ],
)
def test_build_that_raises(file: Path, line: str, expected: str) -> None:
    assert sentence(file, with_line(line)).startswith(expected)


def test_build_without_self(file: Path) -> None:
    said = sentence(file, MODEL.replace("def build(self)", "def build()"))
    assert said == "5: Model.build() must take nothing but self: def build(self)."


def test_class_without_build(file: Path) -> None:
    text = "from ftllm.llm import ComputeGraph\nclass Model(ComputeGraph): pass\n__model__ = Model"
    with pytest.raises(GraphError, match=r"the class Model has no build\(self\)\."):
        build_graph(load(file, text), {})
    misspelt = MODEL.replace("build", "biuld")
    assert sentence(file, misspelt) == '5: the class Model has no build(self): is "biuld" meant to be it?'


def test_a_forgotten_import(file: Path) -> None:
    said = sentence(file, MODEL.replace("from ftllm.llm", "from ftllm.llm import ComputeGraph as Other #"))
    assert said.startswith("4: the file raised NameError") and "begin the file with from ftllm.llm import" in said


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        load_graph_class(tmp_path / "nowhere.py")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_graph_class(tmp_path)
    with pytest.raises(UsageError, match="the path of the custom model is empty"):
        load_graph_class("")


def test_an_own_init_that_takes_nothing(file: Path) -> None:
    text = MODEL.replace("    def build(self):", "    def __init__(self):\n        pass\n    def build(self):")
    assert sentence(file, text).startswith("Model(config, tokenizer_config, generation_config) raised TypeError: ")


@pytest.mark.parametrize("name", ["config", "tokenizer_config", "generation_config"])
def test_a_config_that_is_replaced_by_something_else(file: Path, name: str) -> None:
    text = MODEL.replace("self.Silu", f"self.{name} = None; self.Silu")
    assert sentence(file, text) == f"Model.build() must leave self.{name} a dict."


@pytest.mark.parametrize(
    ("infer", "reason"),
    [
        ('raise ValueError("oops")', 'its infer() raised ValueError in line 9 (raise ValueError("oops")): oops.'),
        ("return None", "infer() must return a TensorType for each of"),
        ("return len(3)", "its infer() raised TypeError in line 9 (return len(3)): object of type 'int' has no len()."),
    ],
)
def test_an_operator_of_the_file_s_own_that_cannot_infer(file: Path, infer: str, reason: str) -> None:
    text = OWN_OPERATOR.replace("return x", infer)
    with pytest.raises(GraphError) as raised:
        check_graph(build_graph(load(file, text), {"max_positions": 10}), {})
    where = f"{file}:16: Twice (operator 0)"
    assert str(raised.value).startswith(where) and reason in str(raised.value)


def test_an_operator_of_the_file_s_own_with_other_parameters_than_its_infer(file: Path) -> None:
    text = OWN_OPERATOR.replace("def infer(x)", "def infer(step, x)")
    with pytest.raises(GraphError, match=r"missing 1 required positional argument: 'step'; write def infer\(x\)\.$"):
        check_graph(build_graph(load(file, text), {"max_positions": 10}), {})


OWN_OPERATOR = """\
from ftllm_nb.llm import ComputeGraph
from ftllm_nb.ops.base import Kind, Operator, Parameter

class Twice(Operator):
    parameters = (Parameter("x", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(x):
        return x

class Model(ComputeGraph):
    operators = (Twice,)

    def build(self):
        data = self.data
        self.Twice(data["positionIds"], data["y"])

__model__ = Model
"""


def test_loading_while_other_threads_import(file: Path) -> None:
    """A server loads its model on a thread of its own."""
    is_done = threading.Event()

    def import_more() -> None:
        number = 0
        while not is_done.is_set():
            number += 1
            sys.modules[f"of_another_thread_{number}"] = ModuleType("of_another_thread")
            if number % 500 == 0:
                forget()

    def forget() -> None:
        for name in [name for name in sys.modules.copy() if name.startswith("of_another_thread_")]:
            del sys.modules[name]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=import_more)
    thread.start()
    try:
        for _ in range(100):
            load(file, MODEL)
    finally:
        is_done.set()
        thread.join()
        sys.setswitchinterval(interval)
        forget()

"""Operators are found by file; the stub that editors read is current; a class may bring its own."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import ftllm_nb.ops
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.operators import all_operators, public_operators
from ftllm_nb.graph.stub import STUB_PATH, stub_text
from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from tests.graph.small_graphs import CONFIG, HIDDEN, TENSORS, begin, end

FASTLLM = {
    "AddTo": "input0, input1, alpha=1.0",
    "DataTypeAs": "input, input1",
    "Embedding": "input, weight, output",
    "Exit": "",
    "ExpandHead": "input, headDim",
    "FusedAttention": (
        "q, k, v, curk, curv, original, mask, output, seqLens, scale, maskType=0, unitLen=128"
    ),
    "CrossSwiglu": "input, output",
    "Geglu": "input, output",
    "Gelu": "input, output",
    "GeluNew": "input, output",
    "MatMul": "input0, input1, output, alpha=1.0, group=1",
    "MatMulTransB": "input0, input1, output, alpha=1.0, group=1",
    "Permute": "input, axis, output",
    "RMSNormPart": "input, weight, eps, start, end, output",
    "RopeEncoding": "input, positionIds, rotaryDim=128, ropeTheta=10000.0, ropeScale=1.0",
    "Llama3RopeEncoding": (
        "input, positionIds, rotaryDim=128, ropeTheta=10000.0, factor=1.0, originalMaxPosition=131072, "
        "lowFreqFactor=1.0, highFreqFactor=32.0"
    ),
    "YarnRopeEncoding": (
        "input, positionIds, rotaryDim=128, ropeTheta=10000.0, factor=1.0, attentionFactor=1.0, correctionLow=0.0, "
        "correctionHigh=1.0"
    ),
    "SoftMax": "input, output, axis=-1",
    "SwigluGptOss": "input, output",
    "ApplyLognAttn": "input, lognAttn, positionIds",
    "Linear": "input, weight, bias, output",
    "LlamaRotatePosition2D": "input, positionIds, sin, cos, rotaryDim",
    "MulTo": "input0, input1",
    "Print": "input",
    "RMSNorm": "input, weight, eps, output",
    "Silu": "input, output",
    "Split": "input, axis, start, end, output",
    "SplitLastTokenStates": "input, seqLens, output",
    "Swiglu": "input, output",
}
MORE = {"FusedAttention": ", window=0, chunk=0, softcap=0.0, sinks=None", "RMSNorm": ", offset=0.0",
        "SwigluGptOss": ", limit=7.0, alpha=1.702"}  # fmt: skip
"""Parameters of ours, after fastllm's; all may be left out."""


@pytest.mark.parametrize("name", FASTLLM)
def test_signatures_are_fastllm_s(name: str) -> None:
    signature = str(inspect.signature(getattr(ComputeGraph(), name)))
    assert signature == f"({FASTLLM[name]}{MORE.get(name, '')}) -> None"


def test_expand_head_is_recorded_under_its_own_type() -> None:
    types = {name: operator.json_type for name, operator in public_operators().items()}
    assert types.pop("ExpandHead") == "ExpandHeads"
    assert all(json_type == name for name, json_type in types.items())


def test_one_file_one_operator() -> None:
    folder = Path(ftllm_nb.ops.__path__[0])
    files = [inspect.getsourcefile(operator) for operator in all_operators().values()]
    assert len(files) == len(set(files)) and all(Path(str(file)).parent == folder for file in files)


@pytest.mark.parametrize("operator", public_operators().values(), ids=lambda operator: operator.name)
def test_functions_take_what_the_parameters_say(operator: type[Operator]) -> None:
    read = [parameter.name for parameter in operator.parameters if parameter.kind is not Kind.OUTPUT]
    assert sorted(inspect.signature(operator.infer).parameters) == sorted(read)
    assert sorted(inspect.signature(operator.reference).parameters) == sorted(["step", *read])
    assert operator.__doc__


def test_internal_operators_are_no_methods() -> None:
    internal = {name for name, operator in all_operators().items() if not operator.public}
    assert internal and not any(hasattr(ComputeGraph, name) for name in internal)


def test_the_stub_is_current() -> None:
    assert STUB_PATH.read_text(encoding="utf-8") == stub_text(), "run python -m ftllm_nb.graph.stub"


def test_unknown_names() -> None:
    graph = ComputeGraph()
    assert not hasattr(graph, "Softmax")
    assert not hasattr(graph, "wieght")
    for name, nearest in (("wieght", "weight"), ("rms_norm", "RMSNorm"), ("confg", "config")):
        with pytest.raises(GraphError, match=f'there is no self.{name}; did you mean "{nearest}"'):
            getattr(graph, name)
    with pytest.raises(AttributeError, match="'ComputeGraph' object has no attribute 'zzz'"):
        graph.zzz  # noqa: B018


class Square(Operator):
    """input²."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return input

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return input * input


def test_a_class_may_bring_operators_of_its_own() -> None:
    class Model(ComputeGraph):
        operators = (Square,)

        def build(self) -> None:
            begin(self)
            self.Square(self.data["x"], self.data["x"])
            end(self)

    node = check_graph(build_graph(Model, CONFIG), TENSORS).nodes[1]
    values = np.arange(HIDDEN, dtype=np.float32)[None, None]
    result = node.evaluate(StepContext(), {"input": values})
    np.testing.assert_array_equal(result["output"], values**2)
    assert not hasattr(ComputeGraph(), "Square")


def test_the_documentation_lists_every_operator() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
    table = "".join(line for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([A-Z]\w*)[`(]", table))
    assert named == set(public_operators())

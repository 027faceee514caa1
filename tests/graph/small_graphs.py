"""Small graphs and checkpoints' headers for the tests of recording and checking."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ftllm_nb.errors import FtllmError, GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.ir import CheckedGraph

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FEED_FORWARD, VOCAB = 24, 6, 2, 4, 40, 50
CONFIG: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": HIDDEN,
    "intermediate_size": FEED_FORWARD,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "num_hidden_layers": 2,
    "vocab_size": VOCAB,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of a tensor."""

    shape: tuple[int, ...]
    dtype: Any = "float32"


TENSORS = {
    "embed.weight": Header((VOCAB, HIDDEN), "bfloat16"),
    "norm.weight": Header((HIDDEN,)),
    "head.weight": Header((VOCAB, HIDDEN), "bfloat16"),
    "q.weight": Header((HEADS * HEAD_DIM, HIDDEN), "bfloat16"),
    "k.weight": Header((KV_HEADS * HEAD_DIM, HIDDEN), "bfloat16"),
    "v.weight": Header((KV_HEADS * HEAD_DIM, HIDDEN), "bfloat16"),
    "v.bias": Header((KV_HEADS * HEAD_DIM,), "bfloat16"),
    "o.weight": Header((HIDDEN, HEADS * HEAD_DIM), "bfloat16"),
    "layers.0.up.weight": Header((FEED_FORWARD, HIDDEN), "bfloat16"),
    "layers.1.up.weight": Header((FEED_FORWARD, HIDDEN), "bfloat16"),
}

Build = Callable[[ComputeGraph], None]


def graph_class(build: Build) -> type[ComputeGraph]:
    """A class with this build()."""
    return type("TestModel", (ComputeGraph,), {"build": build})


def check(
    build: Build, config: dict[str, Any] | None = None, tensors: dict[str, Header] | None = None
) -> CheckedGraph:
    """The checked graph of a build()."""
    graph = build_graph(graph_class(build), CONFIG if config is None else config)
    return check_graph(graph, TENSORS if tensors is None else tensors)


def begin(graph: ComputeGraph) -> None:
    """Write data["x"], [1, tokens, HIDDEN]."""
    graph.Embedding(graph.data["inputIds"], graph.weight["embed.weight"], graph.data["x"])


def end(graph: ComputeGraph, name: str = "x") -> None:
    """Write the logits of data[name]."""
    graph.SplitLastTokenStates(graph.data[name], graph.data["seqLens"], graph.data["last"])
    graph.Linear(
        graph.data["last"], graph.weight["head.weight"], graph.weight["head.bias"], graph.data["logits"]
    )


def project(graph: ComputeGraph, name: str) -> None:
    """Write data[name], [1, tokens, heads, HEAD_DIM], from data["x"]."""
    weight = graph.weight[name]
    graph.Linear(graph.data["x"], weight[".weight"], weight[".bias"], graph.data[name])
    graph.ExpandHead(graph.data[name], HEAD_DIM)


def attend(graph: ComputeGraph, **changes: Any) -> None:
    """Attention of q, k and v into data["y"], with some arguments changed."""
    data = graph.data
    arguments = {
        "q": data["q"], "k": data["pastKey."][0], "v": data["pastValue."][0], "curk": data["k"],
        "curv": data["v"], "original": data["x"], "mask": data["attentionMask"], "output": data["y"],
        "seqLens": data["seqLens"], "scale": HEAD_DIM**-0.5,
    }  # fmt: skip
    graph.FusedAttention(**{**arguments, **changes})


def error_of(
    build: Build,
    config: dict[str, Any] | None = None,
    tensors: dict[str, Header] | None = None,
    kind: type[FtllmError] = GraphError,
) -> str:
    """The sentence with which a build() is refused.

    Checks that it begins with the file of `build` and the line that bears the comment `# wrong`.
    """
    with pytest.raises(kind) as raised:
        check(build, config, tensors)
    lines, first = inspect.getsourcelines(build)
    (wrong,) = (number for number, line in enumerate(lines, first) if line.rstrip().endswith("# wrong"))
    where = f"{inspect.getsourcefile(build)}:{wrong}: "
    sentence = str(raised.value)
    assert sentence.startswith(where), sentence
    assert sentence.endswith((".", "?")), sentence
    return sentence.removeprefix(where)

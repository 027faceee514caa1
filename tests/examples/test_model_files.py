"""The example models: loaded as a user's --custom file, and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb import llm
from ftllm_nb.checkpoint.random import RandomCheckpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.reference_executor import ReferenceExecutor
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.custom_file import load_graph_class
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.models.qwen2 import Qwen2Model
from tests.graph.small_graphs import CONFIG

EXAMPLES = Path(__file__).parents[2] / "examples"
QWEN2: dict[str, Any] = CONFIG | {"tie_word_embeddings": True}
TELECHAT: dict[str, Any] = {
    "model_type": "telechat",
    "hidden_size": 24,
    "ffn_hidden_size": 40,
    "n_head": 3,
    "n_layer": 2,
    "layer_norm_epsilon": 1e-5,
    "seq_length": 96,
    "vocab_size": 50,
}
TOKENS = np.arange(5, 35, dtype=np.int32)


def telechat_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a TeleChat checkpoint; the output is tied to the embedding."""
    shapes: dict[str, tuple[int, ...]] = {"transformer.word_embeddings.weight": (50, 24)}
    for i in range(2):
        layer = f"transformer.h.{i}"
        shapes |= {
            f"{layer}.input_layernorm.weight": (24,),
            f"{layer}.self_attention.query.weight": (24, 24),
            f"{layer}.self_attention.key_value.weight": (48, 24),
            f"{layer}.self_attention.dense.weight": (24, 24),
            f"{layer}.self_attention.dense.bias": (24,),
            f"{layer}.post_attention_layernorm.weight": (24,),
            f"{layer}.mlp.gate_proj.weight": (40, 24),
            f"{layer}.mlp.up_proj.weight": (40, 24),
            f"{layer}.mlp.down_proj.weight": (24, 40),
            f"{layer}.mlp.down_proj.bias": (24,),
        }
    return shapes | {"transformer.ln_f.weight": (24,)}


def logits(model: type[ComputeGraph], checkpoint: RandomCheckpoint) -> tuple[CheckedGraph, Any]:
    """The checked graph, and the logits of the last two tokens: prefilled, then decoded."""
    graph = check_graph(build_graph(model, checkpoint.config), checkpoint.tensors)
    executor = ReferenceExecutor(graph, checkpoint, kv_cache_dtype="float32")
    sequence = executor.cache.new_sequence()
    rows = [executor.run([SequenceStep(sequence, part)])[0] for part in (TOKENS[:-1], TOKENS[-1:])]
    executor.close()
    return graph, np.stack(rows)


@pytest.mark.parametrize("name", ["qwen2.py", "telechat.py"])
def test_files_are_in_fastllm_s_form(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert text.startswith("from ftllm.llm import ComputeGraph\n") and "ftllm_nb" not in text


def test_qwen2_is_the_bundled_architecture() -> None:
    checkpoint = RandomCheckpoint(QWEN2, build_graph(Qwen2Model, QWEN2).weight_shapes(), "float32")
    graph, ours = logits(load_graph_class(EXAMPLES / "qwen2.py"), checkpoint)
    assert (graph.unread_tensors, graph.notes) == ([], [])
    np.testing.assert_array_equal(ours, logits(Qwen2Model, checkpoint)[1])


class SplitTeleChat:
    """A Qwen2 checkpoint that computes the same as a TeleChat one: key_value taken apart, names changed."""

    def __init__(self, telechat: RandomCheckpoint) -> None:
        self.config = {
            "model_type": "qwen2",
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_attention_heads": 3,
            "num_hidden_layers": 2,
            "vocab_size": 50,
            "max_positions": 96,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000 * 3 ** (8 / 6),
            "tie_word_embeddings": True,
        }
        self.arrays = {}
        names = {
            "self_attention.query": "self_attn.q_proj",
            "self_attention.dense": "self_attn.o_proj",
            "transformer.word_embeddings": "model.embed_tokens",
            "transformer.ln_f": "model.norm",
            "transformer.h": "model.layers",
        }
        for name in telechat.tensors:
            array = telechat.read(name)
            for old, new in names.items():
                name = name.replace(old, new)
            if "key_value" in name:
                heads = array.reshape(3, 2, 8, 24)
                for part, letter in enumerate("kv"):
                    new = name.replace("self_attention.key_value", f"self_attn.{letter}_proj")
                    self.arrays[new] = heads[:, part].reshape(24, 24)
            else:
                self.arrays[name] = array
        self.tensors = {
            name: next(info for info in telechat.tensors.values() if info.shape == array.shape)
            for name, array in self.arrays.items()
            if array.shape != (24, 24)
        } | {
            name: telechat.tensors["transformer.h.0.self_attention.query.weight"]
            for name, array in self.arrays.items()
            if array.shape == (24, 24)
        }

    def read(self, name: str) -> Any:
        return self.arrays[name]

    def release(self, name: str) -> None:
        pass


def test_telechat_assigns_the_config_and_takes_key_value_apart() -> None:
    checkpoint = RandomCheckpoint(TELECHAT, telechat_shapes(), "float32")
    graph, ours = logits(load_graph_class(EXAMPLES / "telechat.py"), checkpoint)
    assert graph.max_positions == 96
    assert (graph.unread_tensors, graph.notes) == ([], [])
    assert graph.rope[""].base == pytest.approx(10000 * 3 ** (8 / 6))
    roles = ("pre_prompt", "user_role", "bot_role", "history_sep")
    assert [graph.config[role] for role in roles] == ["", "<_user>", "<_bot>", ""]
    _, expected = logits(Qwen2Model, SplitTeleChat(checkpoint))  # type: ignore[arg-type]
    assert np.ptp(ours) > 1e-3
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_an_operator_of_the_file_s_own_is_the_same_by_kernel_and_by_definition() -> None:
    answers = []
    for graph, engine in ((None, "compiled"), ("custom_operator.py", "compiled"), ("custom_operator.py", "reference")):
        file = None if graph is None else EXAMPLES / graph
        with llm.model(
            "demo", graph=file, dtype="float32", kv_cache_dtype="float32", engine=engine, threads=1
        ) as model:
            own = {node.operator.name for node in model.loaded.graph.nodes}
            assert ("Gate" in own) == (graph is not None)
            answers.append(model.response_logits("What is 17 + 25?"))
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=1e-4)


def test_an_attention_of_the_file_s_own_reads_and_writes_the_cache() -> None:
    answers = []
    for graph in (None, EXAMPLES / "own_attention.py"):
        with llm.model("demo", graph=graph, dtype="float32", kv_cache_dtype="float32", threads=1) as model:
            answers.append(model.response_logits("What is 17 + 25?"))
            answers.append(model.response("What is 17 + 25?"))
    np.testing.assert_allclose(answers[2], answers[0], atol=1e-4)
    assert answers[3] == answers[1] == "42"

"""What a correct graph becomes: values that are written once, types, caches, tied embeddings, notes."""

from __future__ import annotations

import pytest

from ftllm_nb.errors import CheckpointError, GraphError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.references import ConfigReference
from ftllm_nb.graph.types import Symbol, TensorType
from ftllm_nb.models import graph_class
from tests.graph.small_graphs import (
    CONFIG,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    KV_HEADS,
    TENSORS,
    VOCAB,
    Header,
    attend,
    begin,
    check,
    end,
    project,
)


def attention(self: ComputeGraph) -> None:
    """A layer of attention without rotation."""
    begin(self)
    for name in ("q", "k", "v"):
        project(self, name)
    attend(self)
    self.AddTo(self.data["x"], self.data["y"])
    end(self)


def test_types_and_caches() -> None:
    graph = check(attention)
    heads = graph.nodes[2].outputs["input"]
    assert heads.type == TensorType((1, Symbol.TOKENS, HEADS, HEAD_DIM), "float32")
    node = graph.nodes[7]
    assert node.operator.name == "FusedAttention"
    assert node.outputs["output"].type == TensorType((1, Symbol.TOKENS, HEADS * HEAD_DIM))
    no_limits = {"window": 0, "chunk": 0, "softcap": 0.0}
    assert node.attributes == {"scale": HEAD_DIM**-0.5, "maskType": 0, "unitLen": 128, **no_limits}
    (cache,) = graph.caches.values()
    assert (cache.layer, cache.heads, cache.key_dim, cache.value_dim) == (0, KV_HEADS, HEAD_DIM, HEAD_DIM)
    assert cache.key is node.inputs["k"] and cache.key.type.shape == (Symbol.CACHED, KV_HEADS, HEAD_DIM)
    assert graph.logits.type == TensorType((1, Symbol.ROWS, VOCAB))
    assert (graph.vocab_size, graph.max_positions) == (VOCAB, 64)


def test_every_value_is_written_once_and_knows_its_node() -> None:
    graph = check(attention)
    written = [value for node in graph.nodes for value in node.outputs.values()]
    assert len(written) == len(set(written))
    assert all(node.outputs[name].producer is node for node in graph.nodes for name in node.outputs)
    add = graph.nodes[8]
    assert add.inputs["input0"].name == add.outputs["input0"].name == "x"
    assert add.inputs["input0"] is not add.outputs["input0"]
    assert add.inputs["input0"] is graph.nodes[0].outputs["output"]
    assert graph.nodes[9].inputs["input"] is add.outputs["input0"]


def test_missing_bias_is_none() -> None:
    graph = check(attention)
    assert "bias" not in graph.nodes[1].inputs
    assert graph.nodes[5].inputs["bias"].name == "v.bias"


def test_weights_keep_the_checkpoint_s_name_shape_and_type() -> None:
    graph = check(attention)
    weight = graph.weights["embed.weight"]
    assert weight.kind == "weight" and weight.type == TensorType((VOCAB, HIDDEN), "bfloat16")
    assert set(graph.inputs) == {"inputIds", "attentionMask", "seqLens", "pastKey.0", "pastValue.0"}
    assert graph.rope == {}


def test_rope_is_settled_when_sin_or_cos_is_read() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        data = self.data
        self.ExpandHead(data["x"], HEAD_DIM)
        self.LlamaRotatePosition2D(data["x"], data["positionIds"], data["sin"], data["cos"], HEAD_DIM)
        self.Silu(data["x"], data["x"])
        begin(self)
        end(self)

    graph = check(build)
    assert graph.rope[""].dim == HEAD_DIM
    assert graph.inputs["sin"].type == TensorType((64, HEAD_DIM // 2))


def test_tied_embedding_is_one_value() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.SplitLastTokenStates(self.data["x"], self.data["seqLens"], self.data["last"])
        self.Linear(self.data["last"], self.weight["lm_head.weight"], None, self.data["logits"])

    for tied in ({"tie_word_embeddings": True}, {}):
        config = {name: value for name, value in CONFIG.items() if name != "tie_word_embeddings"}
        graph = check(build, config | tied)
        assert graph.nodes[-1].inputs["weight"] is graph.nodes[0].inputs["weight"]
        assert list(graph.weights) == ["embed.weight"]


def test_unread_tensors_are_listed_but_for_buffers() -> None:
    buffers = (
        "layers.0.rotary_emb.inv_freq",
        "rotary_emb.cos_cached",
        "h.0.attn.masked_bias",
        "position_ids",
    )
    masks = {"h.0.attn.bias": Header((1, 1, 8, 8)), "layers.0.attention.bias": Header((1, 1, 8, 8))}
    biases = {"h.1.attn.bias": Header((8,))}
    tensors = TENSORS | {name: Header((2,)) for name in buffers} | masks | biases
    graph = check(attention, tensors=tensors)
    unread = ["h.1.attn.bias", "layers.0.up.weight", "layers.1.up.weight", "norm.weight", "o.weight"]
    assert graph.unread_tensors == unread


def test_data_that_nothing_reads_is_noted() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for _ in range(3):
            self.Silu(self.data["x"], self.data["gaet"])
        end(self)

    (note,) = check(build).notes
    assert note.endswith('nothing reads data "gaet", which Silu (operator 3) writes.')
    assert check(attention).notes == []


def test_print_and_exit_are_nodes() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.Print(self.data["x"])
        self.Print(self.weight["norm.weight"])
        self.Exit()
        end(self)

    assert [node.operator.name for node in check(build).nodes][1:4] == ["Print", "Print", "Exit"]


def test_numbers_from_the_config() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        self.RMSNorm(self.data["x"], self.weight["norm.weight"], ConfigReference(name), self.data["x"])
        end(self)

    name = "rms_norm_eps"
    assert check(build).nodes[1].attributes == {"eps": 1e-6, "offset": 0.0}
    name = "model_type"
    with pytest.raises(GraphError, match=r'takes "eps" from config\["model_type"\], and .* is not a number\.'):
        check(build)


# Architectures that declare their tensors.


def headers(config: dict[str, object]) -> dict[str, Header]:
    graph = build_graph(graph_class(config), config)
    return {name: Header(shape) for name, shape in graph.weight_shapes().items()}


def test_a_shape_that_contradicts_the_config_names_tensor_shape_and_entry() -> None:
    tensors = headers(CONFIG)
    config = CONFIG | {"intermediate_size": 41}
    with pytest.raises(CheckpointError) as raised:
        check_graph(build_graph(graph_class(config), config), tensors)
    assert str(raised.value) == (
        'tensor "model.layers.0.mlp.gate_proj.weight" has shape [40, 24], but config.json makes it [41, 24] '
        "(intermediate_size = 41): one of the two belongs to another model."
    )


def test_a_matrix_that_is_transposed() -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    tensors = headers(CONFIG) | {name: Header((40, 24))}
    with pytest.raises(CheckpointError) as raised:
        check_graph(build_graph(graph_class(CONFIG), CONFIG), tensors)
    assert str(raised.value) == (
        f'tensor "{name}" has shape [40, 24], but config.json makes it [24, 40] (hidden_size = 24, '
        "intermediate_size = 40): it is transposed, so write it with its axes exchanged."
    )


def test_missing_biases_of_an_architecture_are_noted() -> None:
    tensors = {name: header for name, header in headers(CONFIG).items() if not name.endswith("q_proj.bias")}
    graph = check_graph(build_graph(graph_class(CONFIG), CONFIG), tensors)
    (note,) = graph.notes
    assert note.startswith('the checkpoint lacks the bias "model.layers.0.self_attn.q_proj.bias" and 1 more')


def test_missing_layers_are_named() -> None:
    config = CONFIG | {"num_hidden_layers": 4}
    with pytest.raises(CheckpointError) as raised:
        check_graph(build_graph(graph_class(config), config), headers(CONFIG))
    assert str(raised.value) == (
        'the checkpoint lacks the tensor "model.layers.2.input_layernorm.weight" [24], which '
        "config.json asks for: it has this weight in layers 0 to 1 only; "
        "config.json may ask for more layers than it holds."
    )


def test_tensors_of_other_names_are_suggested() -> None:
    tensors = {name.removeprefix("model."): header for name, header in headers(CONFIG).items()}
    with pytest.raises(CheckpointError, match=r'did you mean "embed_tokens\.weight"'):
        check_graph(build_graph(graph_class(CONFIG), CONFIG), tensors)


def test_an_architecture_without_lm_head_is_tied_unless_the_config_says_no() -> None:
    tensors = {name: header for name, header in headers(CONFIG).items() if name != "lm_head.weight"}
    config = {name: value for name, value in CONFIG.items() if name != "tie_word_embeddings"}
    graph = check_graph(build_graph(graph_class(config), config), tensors)
    assert graph.nodes[-1].inputs["weight"].name == "model.embed_tokens.weight"
    with pytest.raises(GraphError, match="tie_word_embeddings = false"):
        check_graph(build_graph(graph_class(CONFIG), CONFIG), tensors)

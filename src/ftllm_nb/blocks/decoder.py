"""A decoder from parts: embedding, layers of attention and a feed-forward, norm, logits.

An architecture derives from `Decoder` and overrides what it does otherwise: a number, such as `scale`, or a part, such
as `turn_heads`. A part reads and writes data by name (`hidden` is what flows from layer to layer) and notes the shape
of each weight where it reads it, so that `weight_shapes` is never written a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, NoReturn

from ftllm_nb.blocks.names import Names, names_as_saved
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.config_entries import flag, positive
from ftllm_nb.graph.layer_kinds import FULL, layer_kinds
from ftllm_nb.graph.nearest import join_quoted
from ftllm_nb.graph.rope import named_rope_settings

_ACTIVATIONS = {"silu": "Silu", "swish": "Silu", "relu": "Relu", "relu2": "Relu2", "tanh": "TanH"}
_GELU = "gelu"
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
"""Entries that every config has."""


class Decoder(ComputeGraph):
    """Llama's form, with what its relatives need as data, numbers and parts to override.

    `names`: what tensors are called, `prefix`: what their names begin with. `entry_names`: what config.json calls an
    entry, where that is not Llama's name. `norm_offset`: added to the weights of norms. `turns_neighbours`: pairs of
    rotations are (2 j, 2 j + 1), as GPT-J has them, not (j, j + half). `turning_part` and `default_activation`:
    partial_rotary_factor and hidden_act where the config has none. `is_gated`: the feed-forward has a gate.
    `groups_heads`: there may be fewer key heads than query heads. `ties_by_default`: tie_word_embeddings where the
    config has none. `stores_transposed`: matrices are stored as [in, out], but for the head. `number`: the layer that
    build() is at, whose sizes may be its own.
    """

    prefix: str = "model."
    names: Names = Names()
    number: int = 0
    entry_names: ClassVar[Mapping[str, str]] = {}
    norm_offset: ClassVar[float] = 0.0
    turns_neighbours: ClassVar[bool] = False
    turning_part: ClassVar[float] = 1.0
    default_activation: ClassVar[str] = "silu"
    is_gated: ClassVar[bool] = True
    groups_heads: ClassVar[bool] = True
    ties_by_default: ClassVar[bool] = False
    stores_transposed: ClassVar[bool] = False

    def build(self) -> None:
        """The whole graph."""
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._read_own_names()
        self.prefix, self.names = names_as_saved(self.prefix, self.names, self.checkpoint_names)
        self._sizes = {"hidden": self.hidden_size}
        if self.head_dim < 1:
            raise GraphError(
                f"config.json's hidden_size {self.hidden_size} leaves nothing for each of {shown(self.heads)} heads "
                "(num_attention_heads)."
            )
        if self.heads % self.kv_heads:
            raise GraphError(
                f"config.json's num_attention_heads {self.heads} is no multiple of its num_key_value_heads "
                f"{self.kv_heads}."
            )
        self.config["head_dim"] = self.head_dim  # of which rotations are a part
        if not flag(self.config, "is_causal", True):
            self.refuse_later_tokens("is_causal")
        if self.turning_part != 1 and self.config.get("partial_rotary_factor") is None:
            self.config["partial_rotary_factor"] = self.turning_part
        if self.config.get("hidden_activation") is None and self.config.get("hidden_act") is None:
            self.config["hidden_act"] = self.default_activation  # which Gelu reads, too
        self.check_config()
        self.embed()
        for number in range(self.num_layers):
            self.number = number
            self.layer(number, f"{self.prefix}{self.names.layers}.{number}.")
        self.write_logits()

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a checkpoint of this config, as build() read them."""
        return dict(self._shapes)

    def _read_own_names(self) -> None:
        """Entries under names of this architecture's own become entries under Llama's."""
        for entry, own in self.entry_names.items():
            if self.config.get(own) is not None:
                self.config[entry] = self.config[own]
            elif entry in _SIZES and entry not in self.config:
                raise KeyError(own)

    # Numbers, from the config.

    @property
    def hidden_size(self) -> int:
        """Features of a token between layers."""
        return int(self.config["hidden_size"])

    @property
    def num_layers(self) -> int:
        """How many layers there are."""
        return int(self.config["num_hidden_layers"])

    @property
    def heads(self) -> int:
        """Query heads."""
        return int(self.config["num_attention_heads"])

    @property
    def kv_heads(self) -> int:
        """Key and value heads."""
        given = self.config.get("num_key_value_heads") if self.groups_heads else None
        return int(given or self.heads)

    @property
    def head_dim(self) -> int:
        """Features of a head."""
        return int(self.config.get("head_dim") or self.hidden_size // self.heads)

    @property
    def inner_size(self) -> int:
        """Features inside of a feed-forward."""
        return int(self.config["intermediate_size"])

    @property
    def eps(self) -> float:
        """What norms add to the mean square."""
        return 1e-6 if self.config.get("rms_norm_eps") is None else positive(self.config, "rms_norm_eps")

    @property
    def scale(self) -> float:
        """What scores of attention are multiplied by."""
        return float(self.head_dim**-0.5)

    def layer_scale(self, number: int) -> float:
        """The same, in a layer."""
        return self.scale

    @property
    def softcap(self) -> float:
        """The bound of scores of attention, 0 for none."""
        return 0.0

    @property
    def qkv_bias(self) -> bool:
        """Whether q, k and v have biases."""
        return flag(self.config, "attention_bias", False)

    @property
    def out_bias(self) -> bool:
        """Whether the projection after attention has a bias."""
        return self.qkv_bias

    @property
    def mlp_bias(self) -> bool:
        """Whether the feed-forward's projections have biases."""
        return flag(self.config, "mlp_bias", False)

    @property
    def down_bias(self) -> bool:
        """Whether the feed-forward's last projection has one."""
        return self.mlp_bias

    @property
    def ties_embeddings(self) -> bool:
        """Whether the embedding makes the logits, too."""
        return flag(self.config, "tie_word_embeddings", self.ties_by_default)

    @property
    def embedding_multiplier(self) -> float:
        """What embeddings are multiplied by."""
        return 1.0

    @property
    def residual_multiplier(self) -> float:
        """What a branch is multiplied by before it is added."""
        return 1.0

    @cached_property
    def kinds(self) -> list[str]:
        """The kind of each layer, by the names of config.json's layer_types."""
        return layer_kinds(self.config) or [FULL] * self.num_layers

    @cached_property
    def windows(self) -> list[int | None]:
        """How many positions each layer sees, itself included; None for all."""
        return [None] * self.num_layers

    @cached_property
    def rotations(self) -> dict[str, int]:
        """How many features of a head turn, by the name of the table."""
        tables = named_rope_settings(self.config, positions=1)
        return {name: table.dim for name, table in tables.items()}

    @property
    def output_multiplier(self) -> float:
        """What the last norm's result is multiplied by before it makes the logits."""
        return 1.0

    @property
    def is_parallel(self) -> bool:
        """Whether the feed-forward reads what attention reads, and not the sum with its branch."""
        return False

    def rotates(self, number: int) -> bool:
        """Whether a layer turns its queries and keys by their positions."""
        return True

    def cache_layer(self, number: int) -> int:
        """The layer whose keys and values a layer attends to: itself, or an earlier one."""
        return number

    def attention_limits(self, number: int) -> dict[str, Any]:
        """What FusedAttention takes besides, of a layer."""
        return {"window": self.windows[number] or 0, "softcap": self.softcap}

    def table(self, number: int) -> str:
        """The name of the table by which a layer turns: that of its kind, or "" where there is one for all."""
        kind = "" if "" in self.rotations else self.kinds[number]
        if kind not in self.rotations:
            raise GraphError(
                f"config.json's rope_parameters have tables for {join_quoted(self.rotations)}, but none for "
                f"{shown(kind)} layers."
            )
        return kind

    def check_config(self) -> None:
        """Raise `GraphError` for what the config asks for and this architecture does not do."""
        if self.activation is None:
            named = self._named_activation
            known = f"{', '.join(_ACTIVATIONS)} and the forms of gelu"
            raise GraphError(f"config.json's activation is {shown(named)}; known are {known}.")

    def refuse_later_tokens(self, entry: str) -> NoReturn:
        """Raise `GraphError` for an entry with which tokens see later ones, as in models of embeddings."""
        raise GraphError(
            f"config.json's {entry} is {shown(self.config[entry])}: each token would see later ones, too, but "
            "attention is causal here, as text is written."
        )

    @property
    def activation(self) -> str | None:
        """The operator of the feed-forward's activation; None for one that is not known."""
        named = self._named_activation
        if isinstance(named, str) and named.startswith(_GELU):
            return "Gelu"
        return _ACTIVATIONS.get(named) if isinstance(named, str) else None

    @property
    def _named_activation(self) -> object:
        named = self.config.get("hidden_activation")
        return self.config.get("hidden_act") if named is None else named

    # Parts.

    def embed(self) -> None:
        """hidden = the tokens' embeddings."""
        name = f"{self.prefix}{self.names.embedding}.weight"
        self._shapes[name] = (int(self.config["vocab_size"]), self.hidden_size)
        self.Embedding(self.data["inputIds"], self.weight[name], self.data["hidden"])
        if self.embedding_multiplier != 1:
            self.Mul(self.data["hidden"], self.embedding_multiplier, self.data["hidden"])
        self.DataTypeAs(self.data["hidden"], self.data["atype"])

    def layer(self, number: int, at: str) -> None:
        """hidden += attention(norm(hidden)); hidden += feed-forward(norm(hidden)).

        Norms are where `names` has them, before and after each branch. Where branches are parallel, both read the
        layer's input, through one norm if the second one has no name.
        """
        names = self.names
        read = self.normed("hidden", at, names.before_attention, "x")
        self.attention(number, f"{at}{names.attention}.", read, "branch")
        self.normed("branch", at, names.after_attention, "branch")
        if not self.is_parallel:
            self.add_branch("branch")
        if names.before_feed_forward is not None or not self.is_parallel:
            read = self.normed("hidden", at, names.before_feed_forward, "y")
        self.feed_forward(f"{at}{names.feed_forward}.", read, "other")
        self.normed("other", at, names.after_feed_forward, "other")
        if self.is_parallel:
            self.add_branch("branch")
        self.add_branch("other")

    def add_branch(self, name: str) -> None:
        """hidden += the branch, times the residual multiplier."""
        self.AddTo(self.data["hidden"], self.data[name], self.residual_multiplier)

    def attention(self, number: int, at: str, source: str, target: str) -> None:
        """Queries, keys and values of the source, turned; attention; the projection of its result."""
        self.project_heads(at, source)
        self.turn_heads(number, at)
        self.attend(number, at, "attended")
        self.linear("attended", f"{at}{self.names.out}", self.hidden_size, target, self.out_bias)

    def project_heads(self, at: str, source: str) -> None:
        """q [1, tokens, heads, head_dim], and k and v of kv_heads."""
        for name, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)):
            self.linear(source, f"{at}{name}_proj", heads * self.head_dim, name, self.qkv_bias)
        for name in ("q", "k", "v"):
            self.ExpandHead(self.data[name], self.head_dim)

    def project_fused_heads(self, name: str, source: str) -> None:
        """The same where q, k and v are rows of one matrix, in this order."""
        sizes = [heads * self.head_dim for heads in (self.heads, self.kv_heads, self.kv_heads)]
        self.linear(source, name, sum(sizes), "qkv", self.qkv_bias)
        self.split("qkv", **dict(zip("qkv", sizes, strict=True)))
        for part in "qkv":
            self.ExpandHead(self.data[part], self.head_dim)

    def split_heads(self, source: str, **sizes: int) -> None:
        """Cut the source into heads, and each into data of these names and sizes, [1, tokens, heads, size]."""
        self.ExpandHead(self.data[source], sum(sizes.values()))
        self.split(source, **sizes)

    def turn_heads(self, number: int, at: str) -> None:
        """Turn q and k by their positions; an architecture that normalizes them does that here, too."""
        self.rotate(number, "q", "k")

    def normalize_heads(self, at: str, **names: str) -> None:
        """The norm of each head of q or k, by the names of their weights: q="q_norm"."""
        for name, norm in names.items():
            heads, weight = self.data[name], f"{at}{norm}.weight"
            self._shapes[weight] = (self.head_dim,)
            self.RMSNorm(heads, self.weight[weight], self.eps, heads, self.norm_offset)

    def rotate(self, number: int, *names: str) -> None:
        """Turn heads by the layer's table; only a part of each where the table is for less."""
        if not self.rotates(number):
            return
        table = self.table(number)
        dim, suffix = self.rotations[table], f".{table}" if table else ""
        for name in names:
            head, sin, cos = self.data[name], self.data[f"sin{suffix}"], self.data[f"cos{suffix}"]
            if self.turns_neighbours:
                self.NearlyRotatePosition2D(head, self.data["positionIds"], sin, cos, dim)
            elif dim == self.head_dim:
                self.LlamaRotatePosition2D(head, self.data["positionIds"], sin, cos, dim)
            else:
                self.LlamaRotatePosition2DPart(head, self.data["positionIds"], sin, cos, dim, dim)

    def attend(self, number: int, at: str, target: str) -> None:
        """Attention of q to what the layer's cache holds, k and v appended; those of another layer are only read."""
        data, cached = self.data, self.cache_layer(number)
        key, value = (data["k"], data["v"]) if cached == number else (None, None)
        self.FusedAttention(
            data["q"], data["pastKey."][cached], data["pastValue."][cached], key, value, data["hidden"],
            data["attentionMask"], data[target], data["seqLens"], self.layer_scale(number),
            **self.attention_limits(number),
        )  # fmt: skip
        self._sizes[target] = self.heads * self.head_dim

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """down(activation(gate(source)) · up(source)), or down(activation(up(source))) where there is no gate."""
        names, size, inner = self.names, self.inner_size, "gate" if self.is_gated else "up"
        if self.is_gated:
            self.linear(source, f"{at}{names.gate}", size, "gate", self.mlp_bias)
        self.linear(source, f"{at}{names.up}", size, "up", self.mlp_bias)
        self.activate(inner)
        if self.is_gated:
            self.MulTo(self.data["gate"], self.data["up"])
        self.linear(inner, f"{at}{names.down}", self.hidden_size, target, self.down_bias)

    def activate(self, name: str) -> None:
        """The activation, in place."""
        assert self.activation is not None
        getattr(self, self.activation)(self.data[name], self.data[name])

    def normed(self, source: str, at: str, name: str | None, target: str) -> str:
        """What holds the source's norm, by its weight's name: the target; where there is no norm, the source."""
        if name is None:
            return source
        self.norm(source, f"{at}{name}", target)
        return target

    def norm(self, source: str, at: str, target: str) -> None:
        """target = RMSNorm of the source's last axis."""
        self._shapes[f"{at}.weight"] = (self._sizes[source],)
        self.RMSNorm(self.data[source], self.weight[f"{at}.weight"], self.eps, self.data[target], self.norm_offset)
        self._sizes[target] = self._sizes[source]

    def linear(self, source: str, at: str, size: int, target: str, bias: bool = False) -> None:
        """target = source · weightᵀ + bias, of `size` features; a bias is read wherever the checkpoint has one."""
        weight, shape = self.weight[f"{at}.weight"], (size, self._sizes[source])
        if self.stores_transposed and at != self.names.head:
            weight, shape = weight.transposed(), shape[::-1]
        self._shapes[f"{at}.weight"] = shape
        if bias:
            self._shapes[f"{at}.bias"] = (size,)
        self.Linear(self.data[source], weight, self.weight[f"{at}.bias"], self.data[target])
        self._sizes[target] = size

    def fused_feed_forward(self, at: str, source: str, target: str) -> None:
        """The same where gate and up are one matrix, gate_up_proj."""
        self.linear(source, f"{at}gate_up_proj", 2 * self.inner_size, "gate_up", self.mlp_bias)
        self.Swiglu(self.data["gate_up"], self.data["gate"])
        self._sizes["gate"] = self.inner_size
        self.linear("gate", f"{at}{self.names.down}", self.hidden_size, target, self.down_bias)

    def split(self, source: str, **sizes: int) -> None:
        """Cut the source's last axis into data of these names and sizes, in this order."""
        start = 0
        for name, size in sizes.items():
            self.Split(self.data[source], -1, start, start + size, self.data[name])
            self._sizes[name], start = size, start + size

    def write_logits(self) -> None:
        """logits = the head's product with the norm of each sequence's last token."""
        self.SplitLastTokenStates(self.data["hidden"], self.data["seqLens"], self.data["last"])
        self._sizes["last"] = self.hidden_size
        self.norm("last", f"{self.prefix}{self.names.norm}", "last")
        if self.output_multiplier != 1:
            self.Mul(self.data["last"], self.output_multiplier, self.data["last"])
        self.linear("last", self.names.head, int(self.config["vocab_size"]), "logits")
        if self.ties_embeddings:
            del self._shapes[f"{self.names.head}.weight"]
        self.finish_logits()

    def finish_logits(self) -> None:
        """What is done to the logits, in place: nothing."""

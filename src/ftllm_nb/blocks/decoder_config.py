"""What a decoder's config says: its sizes, numbers and choices, each of which an architecture may override."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, NoReturn

from ftllm_nb.blocks.names import Names
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.config_entries import flag, positive_or, whole
from ftllm_nb.graph.layer_kinds import FULL, layer_kinds
from ftllm_nb.graph.nearest import join_quoted
from ftllm_nb.graph.rope import named_rope_settings

_ACTIVATIONS = {"silu": "Silu", "swish": "Silu", "relu": "Relu", "relu2": "Relu2", "tanh": "TanH"}
_GELU = "gelu"
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
"""Entries that every config has."""


class DecoderConfig(ComputeGraph):
    """Llama's choices, as data of a class and as properties that read the config.

    `names`: what tensors are called, `prefix`: what their names begin with. `entry_names`: what config.json calls an
    entry, where that is not Llama's name. `norm_offset`: added to the weights of norms. `turns_neighbours`: pairs of
    rotations are (2 j, 2 j + 1), as GPT-J has them, not (j, j + half). `turning_part`, `default_activation` and
    `default_eps`: partial_rotary_factor, hidden_act and rms_norm_eps where the config has none. `is_gated`: the
    feed-forward has a gate. `default_head_dim`: head_dim where the config has none, None for what hidden_size leaves
    each head. `head_norms`: the norms of each query and key head before they turn, None where there are none.
    `unused`: what names of tensors begin with that may be there and are passed over.
    `groups_heads`: there may be fewer key heads than query heads. `ties_by_default`: tie_word_embeddings where the
    config has none. `stores_transposed`: matrices are stored as [in, out], but for the head. `number`: the layer that
    build() is at, whose sizes may be its own. `by_layer`: entries for sizes that may be lists of one for each layer.
    """

    prefix: str = "model."
    names: Names = Names()
    number: int = 0
    entry_names: ClassVar[Mapping[str, str]] = {}
    by_layer: ClassVar[tuple[str, ...]] = ()
    norm_offset: ClassVar[float] = 0.0
    turns_neighbours: bool = False
    turning_part: ClassVar[float] = 1.0
    default_activation: ClassVar[str] = "silu"
    default_eps: ClassVar[float] = 1e-6
    default_head_dim: ClassVar[int | None] = None
    head_norms: ClassVar[tuple[str, str] | None] = None
    unused: ClassVar[tuple[str, ...]] = ()
    is_gated: ClassVar[bool] = True
    groups_heads: ClassVar[bool] = True
    ties_by_default: ClassVar[bool] = False
    stores_transposed: bool = False

    def read_config(self) -> None:
        """Check the config, and put into it what it means by entries that are absent. Raises `GraphError`."""
        self._read_own_names()
        if self.head_dim < 1:
            raise GraphError(
                f"config.json's hidden_size {self.hidden_size} leaves nothing for each of {shown(self.heads)} heads "
                "(num_attention_heads)."
            )
        self._require_groups()
        self.config["head_dim"] = self.head_dim  # of which rotations are a part
        if not flag(self.config, "is_causal", True):
            self.refuse_later_tokens("is_causal")
        if self.turning_part != 1 and self.config.get("partial_rotary_factor") is None:
            self.config["partial_rotary_factor"] = self.turning_part
        if self.config.get("hidden_activation") is None and self.config.get("hidden_act") is None:
            self.config["hidden_act"] = self.default_activation  # which Gelu reads, too
        self.check_config()
        _ = self.windows  # kinds of layers that nobody knows are said to be that, and not to lack a rotation
        for number in range(self.num_layers):
            self.number = number
            self._require_groups()
        self.number = 0

    def size(self, name: str) -> int:
        """A size of the config. Raises `GraphError` where it is no positive whole number."""
        if self.config[name] is None:
            raise GraphError(f"config.json's {name} must be a whole number of at least 1, but it is {shown(None)}.")
        return whole(self.config, name, 0)

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
        return int(self.config.get("head_dim") or self.default_head_dim or self.hidden_size // self.heads)

    @property
    def inner_size(self) -> int:
        """Features inside of a feed-forward."""
        return int(self.config["intermediate_size"])

    @property
    def eps(self) -> float:
        """What norms add to the mean square."""
        return positive_or(self.config, self.own_name("rms_norm_eps"), self.default_eps)

    def own_name(self, entry: str) -> str:
        """What this config.json calls an entry."""
        own = self.entry_names.get(entry)
        return entry if own is None or self.config.get(own) is None else own

    @property
    def scale(self) -> float:
        """What scores of attention are multiplied by."""
        return float(self.head_dim**-0.5)

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

    def _require_groups(self) -> None:
        """Raise `GraphError` unless each of the layer's key heads serves as many query heads."""
        if self.heads % self.kv_heads:
            raise GraphError(
                f"config.json's num_attention_heads {self.heads} is no multiple of its num_key_value_heads "
                f"{self.kv_heads}{f' in layer {self.number}' if self.number else ''}."
            )

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

    def _read_own_names(self) -> None:
        """Entries under names of this architecture's own become entries under Llama's."""
        for entry, own in self.entry_names.items():
            if self.config.get(own) is not None:
                self.config[entry] = self.config[own]
            elif entry in _SIZES and entry not in self.config:
                raise KeyError(own)

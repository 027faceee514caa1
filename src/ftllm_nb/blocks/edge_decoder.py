"""What Gemma 3n and Gemma 4 have in common: layers that share keys and values, embeddings of each layer's own."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import whole


class EdgeDecoder(Decoder):
    """A decoder in which the last num_kv_shared_layers layers attend to what an earlier layer of their kind stored.

    Heads of queries, keys and values are normalized, the latter without weights, so that scores are not scaled.
    `shared_layers`, `embedding_size`: num_kv_shared_layers and hidden_size_per_layer_input where the config lacks them.
    """

    norm_offset = 0.0
    shared_layers: ClassVar[int] = 0
    embedding_size: ClassVar[int] = 256

    @property
    def scale(self) -> float:
        """None: norms have done that."""
        return 1.0

    @property
    def softcap(self) -> float:
        """None."""
        return 0.0

    @cached_property
    def layer_size(self) -> int:
        """Features of a layer's own embedding, 0 where there is none."""
        return whole(self.config, "hidden_size_per_layer_input", self.embedding_size, least=0)

    @cached_property
    def storing(self) -> list[int]:
        """By layer, which one stores what it attends to."""
        first = self.num_layers - whole(self.config, "num_kv_shared_layers", self.shared_layers, least=0)
        last = {kind: number for number, kind in enumerate(self.kinds[: max(first, 0)])}
        missing = next((kind for kind in self.kinds if kind not in last), None)
        if missing is not None:
            raise GraphError(
                f"config.json's num_kv_shared_layers leaves no layer of the kind {shown(missing)} that stores keys and "
                f"values, of {self.num_layers} layers."
            )
        return [number if number < first else last[kind] for number, kind in enumerate(self.kinds)]

    @property
    def stores(self) -> bool:
        """Whether the layer at hand stores keys and values."""
        return self.cache_layer(self.number) == self.number

    @property
    def keys_are_values(self) -> bool:
        """Whether the layer at hand makes both by one projection."""
        return False

    def cache_layer(self, number: int) -> int:
        """Of the last layers, an earlier one."""
        return self.storing[number]

    def project_heads(self, at: str, source: str) -> None:
        """q, and k and v where the layer stores them; what a checkpoint holds of them else is passed over."""
        heads = {"q": self.heads}
        if self.stores:
            heads |= {"k": self.kv_heads} if self.keys_are_values else {"k": self.kv_heads, "v": self.kv_heads}
        else:
            unused = tuple(f"{at}{name}." for name in ("k_proj", "v_proj", "k_norm", "v_norm"))
            self.passed_over |= {name for name in self.checkpoint_names if name.startswith(unused)}
        for name, count in heads.items():
            self.linear(source, f"{at}{name}_proj", count * self.head_dim, name, self.qkv_bias)
            self.ExpandHead(self.data[name], self.head_dim)
        if self.stores:
            self.RMSNorm(self.data["k" if self.keys_are_values else "v"], None, self.eps, self.data["v"])

    def turn_heads(self, number: int, at: str) -> None:
        """Normalized, then turned."""
        names = {"q": "q_norm", "k": "k_norm"} if self.stores else {"q": "q_norm"}
        self.normalize_heads(at, **names)
        self.rotate(number, *names)

    def embed(self) -> None:
        """The tokens' embeddings, and for each layer one of its own: a token's and what is made of its embedding."""
        super().embed()
        if not self.layer_size:
            return
        table, width = f"{self.prefix}embed_tokens_per_layer.weight", self.num_layers * self.layer_size
        self._shapes[table] = (whole(self.config, "vocab_size_per_layer_input", 262_144), width)
        ours, tokens = self.data["layers"], self.data["tokens"]
        self.EmbeddingDirect(self.data["inputIds"], self.weight[table], tokens)
        self.linear("hidden", f"{self.prefix}per_layer_model_projection", width, "layers")
        self.Mul(ours, self.hidden_size**-0.5, ours)
        for each in (ours, tokens):
            self.ExpandHead(each, self.layer_size)
        self._sizes["layers"] = self.layer_size
        self.norm("layers", f"{self.prefix}per_layer_projection_norm", "layers")
        self.AddTo(ours, tokens, self.layer_size**0.5)
        self.Mul(ours, 2**-0.5, ours)
        self.Flatten(ours)

    def layer_branch(self, at: str, source: str, target: str) -> None:
        """target = norm(projection(activation(gate(source)) · the layer's own embedding))."""
        start = self.number * self.layer_size
        self.linear(source, f"{at}per_layer_input_gate", self.layer_size, "gate")
        self.activate("gate")
        self.Split(self.data["layers"], -1, start, start + self.layer_size, self.data["own"])
        self.MulTo(self.data["gate"], self.data["own"])
        self.linear("gate", f"{at}per_layer_projection", self.hidden_size, target)
        self.norm(target, f"{at}post_per_layer_input_norm", target)

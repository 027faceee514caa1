"""A decoder from parts: embedding, layers of attention and a feed-forward, norm, logits.

An architecture derives from `Decoder` and overrides what it does otherwise: data of the class, such as `names`, a
number, such as `scale`, or a part, such as `turn_heads`. A part reads and writes data by name (`hidden` is what flows
from layer to layer) and notes the shape of each weight where it reads it, so that `weight_shapes` is never written a
second time.
"""

from __future__ import annotations

from ftllm_nb.blocks.decoder_config import DecoderConfig
from ftllm_nb.blocks.names import names_as_saved


class Decoder(DecoderConfig):
    """Llama's form, with what its relatives need as data, numbers (`DecoderConfig`) and parts to override."""

    def build(self) -> None:
        """The whole graph."""
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.passed_over |= {name for name in self.checkpoint_names if name.startswith(self.unused)}
        self.read_config()
        self.prefix, self.names = names_as_saved(self.prefix, self.names, self.checkpoint_names)
        self._sizes = {"hidden": self.hidden_size}
        self.embed()
        for number in range(self.num_layers):
            self.number = number
            self.layer(number, f"{self.prefix}{self.names.layers}.{number}.")
        self.write_logits()

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a checkpoint of this config, as build() read them."""
        return dict(self._shapes)

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
        """Turn q and k by their positions, normalized before if they have norms."""
        if self.head_norms is not None:
            self.normalize_heads(at, **dict(zip("qk", self.head_norms, strict=True)))
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
            data["attentionMask"], data[target], data["seqLens"], self.scale,
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
        self.take_last()
        self._sizes["last"] = self.hidden_size
        self.norm("last", f"{self.prefix}{self.names.norm}", "last")
        if self.output_multiplier != 1:
            self.Mul(self.data["last"], self.output_multiplier, self.data["last"])
        self.linear("last", self.names.head, int(self.config["vocab_size"]), "logits")
        if self.ties_embeddings:
            del self._shapes[f"{self.names.head}.weight"]
        self.finish_logits()

    def take_last(self) -> None:
        """last = what flows out of the layers, of each sequence's last token."""
        self.SplitLastTokenStates(self.data["hidden"], self.data["seqLens"], self.data["last"])

    def finish_logits(self) -> None:
        """What is done to the logits, in place: nothing."""

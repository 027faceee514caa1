"""Mamba-2 in each layer, and before some a transformer's layer that they share, with small matrices of their own."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from ftllm_nb.blocks.mamba import MambaDecoder
from ftllm_nb.graph.config_entries import flag, whole


class SharedLayersDecoder(MambaDecoder):
    """A `MambaDecoder` whose layers of `sharing_kind` read, beside what flows, what one of num_mem_blocks transformer's
    layers makes of it and of the embeddings. That lies with the first layer that has it."""

    sharing_kind: ClassVar[str] = "hybrid"
    other_kinds = (sharing_kind,)

    @cached_property
    def sharing(self) -> list[int]:
        """The layers that have a shared one."""
        return [number for number, kind in enumerate(self.kinds) if kind == self.sharing_kind]

    def embed(self) -> None:
        """Shared layers read the embeddings, too."""
        super().embed()
        self.Mul(self.data["hidden"], 1.0, self.data["embedded"])

    def layer(self, number: int, at: str) -> None:
        """hidden += Mamba-2's of norm(hidden + what a shared layer gives, where there is one)."""
        source = "hidden"
        if number in self.sharing:
            self.share(number, at)
            source, at = "shared", f"{at}mamba_decoder."
        self.norm(source, f"{at}{self.names.before_attention}", "x")
        self.recurrent_layer(number, f"{at}{self.recurrent_names}.", "x", "branch")
        self.add_branch("branch")

    def share(self, number: int, at: str) -> None:
        """shared = hidden + linear(feed-forward(norm(attention(norm(hidden and embeddings)))))."""
        data, shared = self.data, self.shared_at(number, at)
        self.Cat(data["hidden"], data["embedded"], -1, data["both"])
        self._sizes["both"] = 2 * self.hidden_size
        self.norm("both", f"{shared}input_layernorm", "x")
        self.attend_to_all(number, f"{shared}{self.names.attention}.", "x", "y")
        self.norm("y", f"{shared}pre_ff_layernorm", "y")
        self.feed_forward(f"{shared}{self.names.feed_forward}.", "y", "z")
        self.linear("z", f"{at}linear", self.hidden_size, "shared")
        self.AddTo(data["shared"], data["hidden"])

    def shared_at(self, number: int, at: str) -> str:
        """What names of the shared layer's tensors begin with. As in transformers, what a checkpoint has of a later
        layer is its own where embeddings are not tied, and else passed over."""
        first = self.sharing[self.sharing.index(number) % whole(self.config, "num_mem_blocks", 1)]
        own = {name for name in self.checkpoint_names if name.startswith(f"{at}shared_transformer.")}
        if first == number or (own and not self.ties_embeddings):
            return f"{at}shared_transformer."
        self.passed_over |= own
        return f"{self.prefix}{self.names.layers}.{first}.shared_transformer."

    def project_heads(self, at: str, source: str) -> None:
        """With matrices of the layer's own, where use_shared_attention_adapter says so."""
        super().project_heads(at, source)
        if flag(self.config, "use_shared_attention_adapter", False):
            for name, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)):
                self.adapt(f"{at}linear_{name}_adapter_list", source, heads * self.head_dim)
                self.ExpandHead(self.data["own"], self.head_dim)
                self.AddTo(self.data[name], self.data["own"])

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """Gate and up are one matrix, and the layer's own are added."""
        size = self.inner_size
        self.linear(source, f"{at}gate_up_proj", 2 * size, "gate_up", self.mlp_bias)
        self.adapt(f"{at}gate_up_proj_adapter_list", source, 2 * size)
        self.AddTo(self.data["gate_up"], self.data["own"])
        self.split("gate_up", gate=size, up=size)
        self.activate("gate")
        self.MulTo(self.data["gate"], self.data["up"])
        self.linear("gate", f"{at}{self.names.down}", self.hidden_size, target, self.mlp_bias)

    def adapt(self, at: str, source: str, size: int) -> None:
        """own = the layer's two small matrices times the source."""
        place = self.sharing.index(self.number)
        self.linear(source, f"{at}.{place}.0", whole(self.config, "adapter_rank", 128), "low")
        self.linear("low", f"{at}.{place}.1", size, "own")

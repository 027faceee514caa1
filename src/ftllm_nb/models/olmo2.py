"""OLMo 2: norms after each branch instead of before it, and of whole queries and keys."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder


class Olmo2Model(Decoder):
    """The graph of `Olmo2ForCausalLM`."""

    def layer(self, number: int, at: str) -> None:
        """hidden += norm(attention(hidden)); hidden += norm(feed-forward(hidden))."""
        self.attention(number, f"{at}self_attn.", "hidden", "branch")
        self.norm("branch", f"{at}post_attention_layernorm", "branch")
        self.add_branch("branch")
        self.feed_forward(f"{at}mlp.", "hidden", "branch")
        self.norm("branch", f"{at}post_feedforward_layernorm", "branch")
        self.add_branch("branch")

    def project_heads(self, at: str, source: str) -> None:
        """q and k are normalized before they are cut into heads."""
        for name, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)):
            self.linear(source, f"{at}{name}_proj", heads * self.head_dim, name, self.qkv_bias)
            if name != "v":
                self.norm(name, f"{at}{name}_norm", name)
        for name in ("q", "k", "v"):
            self.ExpandHead(self.data[name], self.head_dim)


__model__ = Olmo2Model

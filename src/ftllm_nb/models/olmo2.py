"""OLMo 2: norms after each branch instead of before it, and of whole queries and keys."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder, Names


class Olmo2Model(Decoder):
    """The graph of `Olmo2ForCausalLM`."""

    names = Names(
        before_attention=None,
        after_attention="post_attention_layernorm",
        before_feed_forward=None,
        after_feed_forward="post_feedforward_layernorm",
    )

    def project_heads(self, at: str, source: str) -> None:
        """q and k are normalized before they are cut into heads."""
        for name, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)):
            self.linear(source, f"{at}{name}_proj", heads * self.head_dim, name, self.qkv_bias)
            if name != "v":
                self.norm(name, f"{at}{name}_norm", name)
        for name in ("q", "k", "v"):
            self.ExpandHead(self.data[name], self.head_dim)


__model__ = Olmo2Model

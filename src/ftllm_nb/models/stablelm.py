"""StableLM: LayerNorm, a quarter of each head turns, and in some a norm for each head."""

from __future__ import annotations

from ftllm_nb.blocks import LayerNormedDecoder, Names
from ftllm_nb.graph.config_entries import flag


class StableLmModel(LayerNormedDecoder):
    """The graph of `StableLmForCausalLM`."""

    turning_part = 0.25

    def check_config(self) -> None:
        """Where branches stand side by side, one norm is for both."""
        if self.is_parallel:
            self.names = Names(before_feed_forward=None)
        super().check_config()

    @property
    def is_parallel(self) -> bool:
        """Where the config says so."""
        return flag(self.config, "use_parallel_residual", False)

    @property
    def qkv_bias(self) -> bool:
        """Where the config says so."""
        return flag(self.config, "use_qkv_bias", False)

    @property
    def out_bias(self) -> bool:
        """Never."""
        return False

    def project_heads(self, at: str, source: str) -> None:
        """Each head of q and k is normalized by weights of its own, where the config says so."""
        heads = {"q": self.heads, "k": self.kv_heads, "v": self.kv_heads}
        for name, count in heads.items():
            self.linear(source, f"{at}{name}_proj", count * self.head_dim, name, self.qkv_bias)
            if name != "v" and flag(self.config, "qk_layernorm", False):
                self.normalize_each(f"{at}{name}_layernorm.norms.", name, count)
            self.ExpandHead(self.data[name], self.head_dim)

    def normalize_each(self, at: str, name: str, count: int) -> None:
        """LayerNorm of each of the heads that lie side by side."""
        for head in range(count):
            weight, start = f"{at}{head}.weight", head * self.head_dim
            self._shapes[weight] = (self.head_dim,)
            self.LayerNormPart(self.data[name], self.weight[weight], None, start, start + self.head_dim, self.eps)


__model__ = StableLmModel

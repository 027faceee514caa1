"""Qwen's hybrids: three of four layers are gated delta nets, the fourth is attention with a gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks.recurrent import RecurrentDecoder
from ftllm_nb.graph.config_entries import flag, whole
from ftllm_nb.graph.layer_kinds import FULL


class DeltaNetDecoder(RecurrentDecoder):
    """A `RecurrentDecoder` whose recurrent layers are gated delta nets (Yang et al., arXiv 2412.06464).

    A subclass has `project`, which says how their projections are stored.
    """

    norm_offset = 1.0
    turning_part = 0.25
    default_head_dim = 256
    head_norms: ClassVar[tuple[str, str] | None] = ("q_norm", "k_norm")
    usual_sizes: ClassVar[Mapping[str, int]] = {
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
    }  # fmt: skip
    """Of a delta net, where the config has none."""

    def check_config(self) -> None:
        """Heads of values are a multiple of those of keys."""
        self.config.get("full_attention_interval")  # another form of what layer_types says
        for name in self.usual_sizes:
            self.config[name] = self.delta_size(name)
        self.multiple("linear_num_value_heads", self.state_heads, "linear_num_key_heads", self.state_key_heads)
        super().check_config()

    @property
    def gates_attention(self) -> bool:
        """Whether attention has its gate."""
        return flag(self.config, "attn_output_gate", True)

    def usual_kinds(self) -> list[str]:
        """Each full_attention_interval-th layer attends."""
        period = whole(self.config, "full_attention_interval", 4)
        return [FULL if (layer + 1) % period == 0 else self.recurrent_kind for layer in range(self.num_layers)]

    def delta_size(self, name: str) -> int:
        """A size of the delta net."""
        return whole(self.config, name, self.usual_sizes[name])

    @property
    def state_key_heads(self) -> int:
        """Heads of a delta net's keys."""
        return self.delta_size("linear_num_key_heads")

    @property
    def state_heads(self) -> int:
        """Heads of its values, each with a state."""
        return self.delta_size("linear_num_value_heads")

    @property
    def tiles_values(self) -> bool:
        """Whether heads of values stand as those of keys do, over and over, and not side by side for each; of GGUF."""
        return flag(self.config, "linear_value_heads_are_tiled", False) and self.state_heads > self.state_key_heads

    @property
    def state_key_dim(self) -> int:
        """Features of a key."""
        return self.delta_size("linear_key_head_dim")

    @property
    def state_value_dim(self) -> int:
        """Features of a value."""
        return self.delta_size("linear_value_head_dim")

    def attend_to_all(self, number: int, at: str, source: str, target: str) -> None:
        """What is attended is multiplied by the sigmoid of a gate, which is projected with the queries."""
        if not self.gates_attention:
            super().attend_to_all(number, at, source, target)
            return
        data, heads = self.data, self.heads * self.head_dim
        self.linear(source, f"{at}q_proj", 2 * heads, "q.gate", self.qkv_bias)
        self.split_heads("q.gate", q=self.head_dim, gate=self.head_dim)
        for name in ("k", "v"):
            self.linear(source, f"{at}{name}_proj", self.kv_heads * self.head_dim, name, self.qkv_bias)
            self.ExpandHead(data[name], self.head_dim)
        self.turn_heads(number, at)
        self.attend(number, at, "attended")
        self.Flatten(data["gate"])
        self.Sigmoid(data["gate"], data["gate"])
        self.MulTo(data["attended"], data["gate"])
        self.linear("attended", f"{at}{self.names.out}", self.hidden_size, target, self.out_bias)

    def project(self, at: str, source: str) -> None:
        """mixed, all queries, keys and values of the source, z, its gates, and b and a, by which states change."""
        raise NotImplementedError

    def recurrent_layer(self, number: int, at: str, source: str, target: str) -> None:
        """A gated delta net, its norm with a gate, and the projection of that."""
        data, weight = self.data, self.weight
        heads, keys = self.state_heads, self.state_key_heads * self.state_key_dim
        self.project(at, source)
        self.convolve(number, f"{at}conv1d", "mixed", self.delta_size("linear_conv_kernel_dim"))
        self.split("mixed", q=keys, k=keys, v=heads * self.state_value_dim)
        for name, size in (("q", self.state_key_dim), ("k", self.state_key_dim), ("v", self.state_value_dim)):
            self.ExpandHead(data[name], size)
        for name in ("q", "k"):
            self.L2Norm(data[name], 1e-6, data[name])
            if self.tiles_values:
                self.Repeat(data[name], 2, heads // self.state_key_heads, data[name])
        self.Sigmoid(data["b"], data["b"])
        self.MambaSoftplus(data["a"], self.vector(f"{at}A_log", heads), self.vector(f"{at}dt_bias", heads), data["a"])
        self.RecurrentGatedDeltaRule(
            data["q"], data["k"], data["v"], data["a"], data["b"], data["pastState."][number], data["read"],
            self.state_key_dim**-0.5,
        )  # fmt: skip
        self.ExpandHead(data["z"], self.state_value_dim)
        self._shapes[f"{at}norm.weight"] = (self.state_value_dim,)
        self.GatedRMSNorm(data["read"], data["z"], weight[f"{at}norm.weight"], self.eps, data["read"])
        self.Flatten(data["read"])
        self._sizes["read"] = heads * self.state_value_dim
        self.linear("read", f"{at}out_proj", self.hidden_size, target)

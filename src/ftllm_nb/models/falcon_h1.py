"""Falcon-H1: attention and Mamba-2 side by side in each layer, and multipliers of nearly everything."""

from __future__ import annotations

from ftllm_nb.blocks import Names, ScaledMambaDecoder
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, positive_or, positives_or, whole
from ftllm_nb.graph.layer_kinds import FULL


class FalconH1Model(ScaledMambaDecoder):
    """The graph of `FalconH1ForCausalLM`."""

    names = Names(norm="final_layernorm", feed_forward="feed_forward", before_feed_forward="pre_ff_layernorm")
    default_eps = 1e-5
    inner_entries = "mamba_d_ssm (or hidden_size · mamba_expand)"

    def usual_kinds(self) -> list[str]:
        """All attend."""
        return [FULL] * self.num_layers

    def check_config(self) -> None:
        """Each layer is of both kinds."""
        if set(self.kinds) != {FULL}:
            raise GraphError("config.json's layer_types has kinds of layers, but each has both attention and Mamba-2.")
        super().check_config()

    def multiplier(self, name: str) -> float:
        """One of the config's."""
        return positive_or(self.config, f"{name}_multiplier", 1.0)

    @property
    def mlp_multipliers(self) -> list[float]:
        """Of a feed-forward's gate, and of what it gives."""
        return positives_or(self.config, "mlp_multipliers", [1.0, 1.0])

    @property
    def embedding_multiplier(self) -> float:
        """From the config."""
        return self.multiplier("embedding")

    @property
    def scale(self) -> float:
        """Keys have a multiplier, which scores can have as well."""
        return super().scale * self.multiplier("key")

    @property
    def mamba_inner(self) -> int:
        """mamba_d_ssm, if there is one."""
        return whole(self.config, "mamba_d_ssm", super().mamba_inner)

    @property
    def mamba_out_bias(self) -> bool:
        """From an entry of its own."""
        return flag(self.config, "projectors_bias", False)

    @property
    def norms_read(self) -> bool:
        """From the config."""
        return flag(self.config, "mamba_rms_norm", False)

    @property
    def norms_before_gate(self) -> bool:
        """From the config."""
        return flag(self.config, "mamba_norm_before_gate", True)

    def attention(self, number: int, at: str, source: str, target: str) -> None:
        """Mamba-2's branch is added at once, that of attention where all add it."""
        self.recurrent_layer(number, self.recurrent_at(at), self.scaled(source, "ssm_in"), "ssm")
        self.add_branch("ssm")
        self.attend_to_all(number, at, self.scaled(source, "attention_in"), target)

    def scaled(self, source: str, name: str) -> str:
        """What holds the source times a multiplier."""
        factor = self.multiplier(name)
        if factor == 1:
            return source
        self.Mul(self.data[source], factor, self.data[name])
        self._sizes[name] = self._sizes[source]
        return name

    def add_branch(self, name: str) -> None:
        """hidden += the branch, times its multiplier."""
        names = {"ssm": "ssm_out", "branch": "attention_out"}
        factor = self.multiplier(names[name]) if name in names else self.mlp_multipliers[1]
        self.AddTo(self.data["hidden"], self.data[name], factor)

    def activate(self, name: str) -> None:
        """A feed-forward's gate has a multiplier."""
        factor = self.mlp_multipliers[0]
        if name == "gate" and factor != 1:
            self.Mul(self.data[name], factor, self.data[name])
        super().activate(name)

    def finish_logits(self) -> None:
        """Times their multiplier."""
        self.Mul(self.data["logits"], self.multiplier("lm_head"), self.data["logits"])


__model__ = FalconH1Model

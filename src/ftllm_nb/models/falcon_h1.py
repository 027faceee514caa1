"""Falcon-H1: attention and Mamba-2 side by side in each layer, and multipliers of nearly everything."""

from __future__ import annotations

from ftllm_nb.blocks import MambaDecoder, Names
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, positive_or, whole
from ftllm_nb.graph.layer_kinds import FULL


class FalconH1Model(MambaDecoder):
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

    def multipliers(self, name: str, count: int) -> list[float]:
        """Some of the config's, as one entry."""
        given = self.config.get(name)
        if given is None:
            return [1.0] * count
        if not isinstance(given, list) or len(given) != count:
            raise GraphError(f"config.json's {name} must be a list of {count} numbers, but it is {shown(given)}.")
        return [positive_or({name: each}, name, 1.0) for each in given]

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
    def norms_before_gate(self) -> bool:
        """From the config."""
        return flag(self.config, "mamba_norm_before_gate", True)

    def attention(self, number: int, at: str, source: str, target: str) -> None:
        """Mamba-2's branch is added at once, that of attention where all add it."""
        mamba = f"{at.removesuffix(f'{self.names.attention}.')}{self.recurrent_names}."
        self.recurrent_layer(number, mamba, self.scaled(source, "ssm_in"), "ssm")
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
        factors = {"ssm": self.multiplier("ssm_out"), "branch": self.multiplier("attention_out")}
        factor = factors[name] if name in factors else self.multipliers("mlp_multipliers", 2)[1]
        self.AddTo(self.data["hidden"], self.data[name], factor)

    def activate(self, name: str) -> None:
        """A feed-forward's gate has a multiplier."""
        factor = self.multipliers("mlp_multipliers", 2)[0]
        if name == "gate" and factor != 1:
            self.Mul(self.data[name], factor, self.data[name])
        super().activate(name)

    def mix(self, number: int, at: str, source: str) -> None:
        """Each part of the product has a multiplier; of those that are convolved, the convolution's weights have it."""
        data, inner, size = self.data, self.mamba_inner, self.mamba_groups * self.mamba_size("mamba_d_state")
        sizes = {"z": inner, "inner": inner, "B": size, "C": size, "dt": self.mamba_heads}
        self.project(at, source, **sizes)
        factors = dict(zip(sizes, self.multipliers("ssm_multipliers", 5), strict=True))
        weight, bias = self.convolution(
            f"{at}conv1d", inner + 2 * size, self.mamba_size("mamba_d_conv"), self.mamba_conv_bias
        )
        start = 0
        for name, factor in factors.items():
            if name in ("z", "dt"):
                self.Mul(data[name], factor, data[name])
                continue
            end = start + sizes[name]
            self.CausalConv1D(
                data[name], weight.part(0, start, end) * factor, None if bias is None else bias.part(0, start, end),
                data[f"pastState.{name}."][number], data[name], int(self.convolves_to_silu),
            )  # fmt: skip
            if not self.convolves_to_silu:
                self.activate(name)
            start = end

    def gate_read(self, at: str) -> str:
        """Without a norm, if the config says so."""
        if flag(self.config, "mamba_rms_norm", False):
            return super().gate_read(at)
        self.Silu(self.data["z"], self.data["z"])
        self.MulTo(self.data["z"], self.data["read"])
        return "z"

    def finish_logits(self) -> None:
        """Times their multiplier."""
        self.Mul(self.data["logits"], self.multiplier("lm_head"), self.data["logits"])


__model__ = FalconH1Model

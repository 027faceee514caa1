"""Delta nets whose queries, keys and values have a projection and a convolution each, as flash-linear-attention has
them."""

from __future__ import annotations

from ftllm_nb.blocks.recurrent import RecurrentDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.ops.gated_rms_norm import SILU


class SeparateDeltaNetDecoder(RecurrentDecoder):
    """A `RecurrentDecoder` whose recurrent layers are such delta nets. A subclass has `recurrent_layer`."""

    def check_config(self) -> None:
        """Convolutions are followed by SiLU, which is the feed-forward's activation, too."""
        super().check_config()
        if self.activation != "Silu":
            named = self.config.get("hidden_act")
            raise GraphError(f"this architecture's hidden_act is silu, but config.json has {shown(named)}.")

    def project_states(self, number: int, at: str, source: str, taps: int, **heads: tuple[int, int]) -> None:
        """q, k and v, by name so many heads of such a size, convolved; q and k of length 1."""
        for name, (count, size) in heads.items():
            self.linear(source, f"{at}{name}_proj", count * size, name)
            self.convolve(number, f"{at}{name}_conv1d", name, taps, state=f"conv.{name}")
            self.ExpandHead(self.data[name], size)
            if name != "v":
                self.L2Norm(self.data[name], 1e-6, self.data[name])

    def read_states(
        self, number: int, at: str, source: str, target: str, heads: int, dims: tuple[int, int],
        eps: float, gateType: int = SILU,
    ) -> None:  # fmt: skip
        """The delta rule with g, the logarithm of the decay, and b; its norm with the gate z; the projection of that.
        `dims`: of a key and a value; `gateType`: GatedRMSNorm's."""
        data, (key_dim, value_dim) = self.data, dims
        self.RecurrentGatedDeltaRule(
            data["q"], data["k"], data["v"], data["g"], data["b"], data["pastState."][number], data["read"],
            key_dim**-0.5,
        )  # fmt: skip
        self.ExpandHead(data["z"], value_dim)
        norm = self.vector(f"{at}o_norm.weight", value_dim)
        self.GatedRMSNorm(data["read"], data["z"], norm, eps, data["read"], gateType)
        self.Flatten(data["read"])
        self._sizes["read"] = heads * value_dim
        self.linear("read", f"{at}o_proj", self.hidden_size, target)

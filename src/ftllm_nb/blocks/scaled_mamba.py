"""Decoders with Mamba-2 layers in which each part of the first product has a multiplier."""

from __future__ import annotations

from ftllm_nb.blocks.mamba import MambaDecoder
from ftllm_nb.graph.config_entries import positives_or


class ScaledMambaDecoder(MambaDecoder):
    """A `MambaDecoder` with ssm_multipliers: of z, inner, B, C and dt."""

    def mix(self, number: int, at: str, source: str) -> None:
        """Of those that are convolved, the convolution's weights have the multiplier."""
        inner, size = self.mamba_inner, self.mamba_groups * self.mamba_size("mamba_d_state")
        sizes = {"z": inner, "inner": inner, "B": size, "C": size, "dt": self.mamba_heads}
        self.project(at, source, **sizes)
        factors = dict(zip(sizes, positives_or(self.config, "ssm_multipliers", [1.0] * len(sizes)), strict=True))
        for name in ("z", "dt"):
            self.Mul(self.data[name], factors[name], self.data[name])
        weight, bias = self.convolution(
            f"{at}conv1d", inner + 2 * size, self.mamba_size("mamba_d_conv"), self.mamba_conv_bias
        )
        start = 0
        for name in ("inner", "B", "C"):
            data, end = self.data[name], start + sizes[name]
            self.CausalConv1D(
                data, weight.part(0, start, end) * factors[name], None if bias is None else bias.part(0, start, end),
                self.data[f"pastState.{name}."][number], data, int(self.convolves_to_silu),
            )  # fmt: skip
            if not self.convolves_to_silu:
                self.activate(name)
            start = end

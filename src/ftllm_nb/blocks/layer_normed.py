"""Decoders whose norms subtract the mean."""

from __future__ import annotations

from typing import ClassVar

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.graph.config_entries import positive


class LayerNormedDecoder(Decoder):
    """A `Decoder` with LayerNorm. `eps_entry`: the config's entry; `norm_bias`: whether norms have one."""

    eps_entry: ClassVar[str] = "layer_norm_eps"
    norm_bias: ClassVar[bool] = True

    @property
    def eps(self) -> float:
        """What norms add to the variance."""
        return positive(self.config, self.eps_entry) if self.config.get(self.eps_entry) is not None else 1e-5

    def norm(self, source: str, at: str, target: str) -> None:
        """target = LayerNorm of the source's last axis."""
        names = ("weight", "bias") if self.norm_bias else ("weight",)
        for name in names:
            self._shapes[f"{at}.{name}"] = (self._sizes[source],)
        bias = self.weight[f"{at}.bias"] if self.norm_bias else None
        self.LayerNorm(self.data[source], self.weight[f"{at}.weight"], bias, -1, self.data[target], self.eps)
        self._sizes[target] = self._sizes[source]

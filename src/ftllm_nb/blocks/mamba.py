"""Decoders with Mamba-2 layers (Dao and Gu, arXiv 2405.21060), and attention in some."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

from ftllm_nb.blocks.recurrent import RecurrentDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, whole
from ftllm_nb.graph.layer_kinds import FULL

_EARLIER, _ATTENDS = "mamba", "attention"
"""Kinds as configs called them before."""
_INFINITY = {"__float__": "Infinity"}
"""As transformers writes it, since JSON has none."""
_MOST_SECONDS = 3e38
"""A time step without a limit."""


class MambaDecoder(RecurrentDecoder):
    """A `RecurrentDecoder` whose recurrent layers are Mamba-2's, sized by config.json's mamba_… entries."""

    recurrent_names = "mamba"

    @cached_property
    def kinds(self) -> list[str]:
        """Also as configs called them before."""
        names = ("layer_types", "layers_block_type")
        newer, older = (self._named_anew(self.config.get(name)) for name in names)
        self.config["layer_types"] = older if newer is None else newer
        kinds = super().kinds
        if older is not None and self._named_anew(older, _ATTENDS, FULL) != kinds:
            raise GraphError("config.json's layers_block_type contradicts its layer_types: remove one of them.")
        return kinds

    def _named_anew(self, kinds: Any, earlier: str = _EARLIER, now: str | None = None) -> Any:
        if not isinstance(kinds, list):
            return kinds
        return [(now or self.recurrent_kind) if kind == earlier else kind for kind in kinds]

    def usual_kinds(self) -> list[str]:
        """None attends."""
        return [self.recurrent_kind] * self.num_layers

    @property
    def mamba_heads(self) -> int:
        """Heads of the recurrence."""
        return whole(self.config, "mamba_n_heads", 128)

    @property
    def mamba_inner(self) -> int:
        """Features of all heads."""
        return whole(self.config, "mamba_expand", 2) * self.hidden_size

    @property
    def mamba_groups(self) -> int:
        """Groups of heads that share what they read and write by."""
        return whole(self.config, "mamba_n_groups", 1)

    def check_config(self) -> None:
        """Heads are as large as the config says, and groups have as many of them."""
        self.config.get("layers_block_type")  # another name of layer_types
        heads, inner = self.mamba_heads, self.mamba_inner
        size = self.multiple("hidden_size · mamba_expand", inner, "mamba_n_heads", heads)
        given = self.config.get("mamba_d_head")
        if given not in (None, "auto", size):
            raise GraphError(
                f"config.json's mamba_d_head is {shown(given)}, but {heads} heads of {inner} features have {size} each."
            )
        self.multiple("mamba_n_heads", heads, "mamba_n_groups", self.mamba_groups)
        super().check_config()

    @property
    def time_steps(self) -> tuple[float, float]:
        """The least and the largest time step."""
        given = self.config.get("time_step_limit")
        if given is None:
            return 0.0, _MOST_SECONDS
        limits = [math.inf if each == _INFINITY else each for each in given] if isinstance(given, list) else []
        are_numbers = all(type(each) in (int, float) for each in limits)
        if len(limits) != 2 or not are_numbers or not 0 <= limits[0] <= limits[1]:
            raise GraphError(
                f"config.json's time_step_limit must be two numbers, from 0 on and in order, but it is {shown(given)}."
            )
        return float(limits[0]), min(float(limits[1]), _MOST_SECONDS)

    def recurrent_layer(self, number: int, at: str, source: str, target: str) -> None:
        """The recurrence of a convolution of the source, the norm of that times a gate, and its projection."""
        data, heads, inner, groups = self.data, self.mamba_heads, self.mamba_inner, self.mamba_groups
        size = groups * whole(self.config, "mamba_d_state", 256)
        bias = flag(self.config, "mamba_proj_bias", False)
        self.linear(source, f"{at}in_proj", 2 * (inner + size) + heads, "z.mixed.dt", bias)
        self.split("z.mixed.dt", z=inner, mixed=inner + 2 * size, dt=heads)
        taps, has_bias = whole(self.config, "mamba_d_conv", 4), flag(self.config, "mamba_conv_bias", True)
        self.convolve(number, f"{at}conv1d", "mixed", taps, has_bias)
        self.split("mixed", inner=inner, B=size, C=size)
        self.ExpandHead(data["inner"], inner // heads)
        for name in "BC":
            self.ExpandHead(data[name], size // groups)
        aLog, dtBias, skip = (self.vector(f"{at}{name}", heads) for name in ("A_log", "dt_bias", "D"))
        least, most = self.time_steps
        self.MambaScan(
            data["inner"], data["dt"], data["B"], data["C"], aLog, dtBias, skip, data["pastState."][number],
            data["read"], least, most,
        )  # fmt: skip
        self.Flatten(data["read"])
        for name in ("read", "z"):
            self.ExpandHead(data[name], inner // groups)
        norm = self.vector(f"{at}norm.weight", inner)
        self.GatedRMSNorm(data["read"], data["z"], norm, self.eps, data["read"], gateFirst=1)
        self.Flatten(data["read"])
        self._sizes["read"] = inner
        self.linear("read", f"{at}out_proj", self.hidden_size, target, bias)

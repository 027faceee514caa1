"""Decoders with Mamba-2 layers (Dao and Gu, arXiv 2405.21060), and attention in some."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

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
    """A `RecurrentDecoder` whose recurrent layers are Mamba-2's, sized by config.json's mamba_… entries.

    `usual_sizes`: those entries where the config has none; `inner_entries`: what makes the features of all heads.
    """

    recurrent_names = "mamba"
    usual_sizes: ClassVar[Mapping[str, int]] = {
        "mamba_n_heads": 128, "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2,
    }  # fmt: skip
    inner_entries: ClassVar[str] = "hidden_size · mamba_expand"

    @cached_property
    def kinds(self) -> list[str]:
        """Also as configs called them before."""
        names = ("layer_types", "layers_block_type")
        newer, older = (self._named_anew(self.config.get(name)) for name in names)
        if newer is None and older is not None:
            self.kinds_entry, self.config["layer_types"] = names[1], older
        else:
            self.config["layer_types"] = newer
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

    def mamba_size(self, name: str) -> int:
        """A size of the recurrence, by its usual name."""
        return whole(self.config, self.own_name(name), self.usual_sizes[name])

    @property
    def mamba_heads(self) -> int:
        """Heads of the recurrence."""
        return self.mamba_size("mamba_n_heads")

    @property
    def mamba_inner(self) -> int:
        """Features of all heads."""
        return self.mamba_size("mamba_expand") * self.hidden_size

    @property
    def mamba_groups(self) -> int:
        """Groups of heads that share what they read and write by."""
        return self.mamba_size("mamba_n_groups")

    @property
    def mamba_conv_bias(self) -> bool:
        """Whether the convolution has a bias."""
        return flag(self.config, self.own_name("mamba_conv_bias"), True)

    @property
    def mamba_out_bias(self) -> bool:
        """Whether the recurrence's last projection has a bias."""
        return flag(self.config, self.own_name("mamba_proj_bias"), False)

    @property
    def norms_read(self) -> bool:
        """Whether what the recurrence reads is normalized at all."""
        return True

    @property
    def norms_before_gate(self) -> bool:
        """Whether it is normalized first, and then multiplied by its gate."""
        return False

    @property
    def read_eps(self) -> float:
        """What that norm adds to the mean square."""
        return self.eps

    @property
    def convolves_to_silu(self) -> bool:
        """Whether the convolution's activation is silu, in place of the feed-forward's."""
        return self.activation == "Silu"

    def check_config(self) -> None:
        """Heads are as large as the config says, and groups have as many of them."""
        self.config.get("layers_block_type")  # another name of layer_types
        heads, inner, name = self.mamba_heads, self.mamba_inner, self.own_name("mamba_n_heads")
        size = self.multiple(self.inner_entries, inner, name, heads)
        given = self.config.get("mamba_d_head")
        if given not in (None, "auto", size):
            raise GraphError(
                f"config.json's {self.own_name('mamba_d_head')} is {shown(given)}, but {heads} heads of {inner} "
                f"features have {size} each."
            )
        self.multiple(name, heads, self.own_name("mamba_n_groups"), self.mamba_groups)
        for entry in ("mamba_n_heads", "mamba_n_groups", "mamba_d_state"):
            self.config[entry] = self.mamba_size(entry)
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
        data, heads, groups = self.data, self.mamba_heads, self.mamba_groups
        self.mix(number, at, source)
        self.ExpandHead(data["inner"], self.mamba_inner // heads)
        for name in "BC":
            self.ExpandHead(data[name], self._sizes[name] // groups)
        aLog, dtBias, skip = (self.vector(f"{at}{name}", heads) for name in ("A_log", "dt_bias", "D"))
        least, most = self.time_steps
        self.MambaScan(
            data["inner"], data["dt"], data["B"], data["C"], aLog, dtBias, skip, data["pastState."][number],
            data["read"], least, most,
        )  # fmt: skip
        self.Flatten(data["read"])
        self._sizes["read"] = self.mamba_inner
        self.linear(self.gate_read(at), f"{at}out_proj", self.hidden_size, target, self.mamba_out_bias)

    def mix(self, number: int, at: str, source: str) -> None:
        """z, the gate; inner, B and C, convolved; and dt: all of one product with the source."""
        inner, size = self.mamba_inner, self.mamba_groups * self.mamba_size("mamba_d_state")
        self.project(at, source, z=inner, mixed=inner + 2 * size, dt=self.mamba_heads)
        self.convolve(
            number, f"{at}conv1d", "mixed", self.mamba_size("mamba_d_conv"), self.mamba_conv_bias,
            self.convolves_to_silu,
        )  # fmt: skip
        if not self.convolves_to_silu:
            self.activate("mixed")
        self.split("mixed", inner=inner, B=size, C=size)

    def project(self, at: str, source: str, **sizes: int) -> None:
        """The source's product, cut into data of these names and sizes."""
        bias = flag(self.config, self.own_name("mamba_proj_bias"), False)
        self.linear(source, f"{at}in_proj", sum(sizes.values()), "z.mixed.dt", bias)
        self.split("z.mixed.dt", **sizes)

    def gate_read(self, at: str) -> str:
        """What holds the norm, in groups, of what was read, times its gate; without a norm the product alone."""
        if not self.norms_read:
            self.Silu(self.data["z"], self.data["z"])
            self.MulTo(self.data["z"], self.data["read"])
            return "z"
        for name in ("read", "z"):
            self.ExpandHead(self.data[name], self.mamba_inner // self.mamba_groups)
        norm, is_first = self.vector(f"{at}norm.weight", self.mamba_inner), not self.norms_before_gate
        self.GatedRMSNorm(
            self.data["read"], self.data["z"], norm, self.read_eps, self.data["read"], gateFirst=int(is_first)
        )
        self.Flatten(self.data["read"])
        return "read"

"""What decoders have in common of whose layers some are recurrent: kinds of layers, and convolutions with a state."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import layer_numbers
from ftllm_nb.graph.layer_kinds import FULL, layer_kinds
from ftllm_nb.graph.nearest import join_quoted
from ftllm_nb.graph.references import WeightReference


class RecurrentDecoder(Decoder):
    """A `Decoder` with layers of `recurrent_kind` beside those that attend.

    `recurrent_names`: what such a layer's tensors begin with, in place of attention's. `other_kinds`: of layers that do
    neither. `kinds_entry`: the config's entry for kinds; `attending_entry`: the one for another form of them, such as a
    list of the layers that attend, which `listed_kinds` reads.
    """

    recurrent_kind: ClassVar[str] = "linear_attention"
    recurrent_names: ClassVar[str] = "linear_attn"
    other_kinds: ClassVar[tuple[str, ...]] = ()
    kinds_entry: str = "layer_types"
    attending_entry: ClassVar[str | None] = None

    @cached_property
    def kinds(self) -> list[str]:
        """As layer_types says, else as the architecture has them. Raises `GraphError` for kinds that it lacks."""
        listed = self.listed_kinds()
        kinds = layer_kinds(self.config) or listed or self.usual_kinds()
        if listed not in (None, kinds):
            raise GraphError(
                f"config.json's {self.attending_entry} contradicts its {self.kinds_entry}: remove one of them."
            )
        known = (FULL, self.recurrent_kind, *self.other_kinds)
        unknown = next((kind for kind in kinds if kind not in known), None)
        if unknown is not None:
            raise GraphError(
                f"config.json's layer_types has {shown(unknown)} layers; this architecture has {join_quoted(known)}."
            )
        return kinds

    def listed_kinds(self) -> list[str] | None:
        """The kind of each layer as the list of those that attend has it; None where there is none."""
        entry = self.attending_entry
        if entry is None or self.config.get(entry) is None:
            return None
        attending = layer_numbers(self.config[entry], entry, 0, self.num_layers - 1)
        return [FULL if number in attending else self.recurrent_kind for number in range(self.num_layers)]

    def usual_kinds(self) -> list[str]:
        """The kind of each layer where the config does not say."""
        return [FULL] * self.num_layers

    @cached_property
    def windows(self) -> list[int | None]:
        """Attention sees everything."""
        return [None] * len(self.kinds)

    def attention(self, number: int, at: str, source: str, target: str) -> None:
        """Attention, or what is recurrent in its place."""
        if self.kinds[number] == self.recurrent_kind:
            self.recurrent_layer(number, self.recurrent_at(at), source, target)
        else:
            self.attend_to_all(number, at, source, target)

    def recurrent_at(self, at: str) -> str:
        """What names of a layer's recurrent tensors begin with, by what those of its attention do."""
        return f"{at.removesuffix(f'{self.names.attention}.')}{self.recurrent_names}."

    def attend_to_all(self, number: int, at: str, source: str, target: str) -> None:
        """A layer that attends."""
        super().attention(number, at, source, target)

    def recurrent_layer(self, number: int, at: str, source: str, target: str) -> None:
        """A layer that does not."""
        raise NotImplementedError

    def convolve(
        self, number: int, name: str, source: str, taps: int, bias: bool = False, silu: bool = True, state: str = "conv"
    ) -> None:
        """The causal convolution of data, channel by channel, in place; `name`: of its tensors; `state`: what a layer
        that has several calls this one's."""
        weight, vector = self.convolution(name, self._sizes[source], taps, bias)
        kept = self.data[f"pastState.{state}."][number]
        self.CausalConv1D(self.data[source], weight, vector, kept, self.data[source], int(silu))

    def convolution(
        self, name: str, size: int, taps: int, bias: bool
    ) -> tuple[WeightReference, WeightReference | None]:
        """The weight of a convolution of so many channels, and its bias if it has one."""
        self._shapes[f"{name}.weight"] = (size, 1, taps)
        return self.weight[f"{name}.weight"], self.vector(f"{name}.bias", size) if bias else None

    def vector(self, name: str, size: int) -> WeightReference:
        """A vector of the checkpoint."""
        self._shapes[name] = (size,)
        return self.weight[name]

    def multiple(self, name: str, size: int, of: str, unit: int) -> int:
        """size / unit. Raises `GraphError` where that is not whole."""
        if size % unit:
            raise GraphError(f"config.json's {name} {size} is no multiple of its {of} {unit}.")
        return size // unit

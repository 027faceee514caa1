"""Mixtures of experts whose projections have biases, a vector for each expert."""

from __future__ import annotations

from typing import Any

from ftllm_nb.blocks.mixture import MixtureDecoder
from ftllm_nb.graph.references import WeightReference


class BiasedMixtureDecoder(MixtureDecoder):
    """A `MixtureDecoder` with biases of the router and of every expert, stored as the experts' matrices are."""

    router_bias = True

    @property
    def are_apart(self) -> bool:
        """Whether the checkpoint has gates and ups as tensors of their own, as GGUF files and quantized folders do."""
        return len(self.stacked_as) != len(self.stacks)

    def merging(self, at: str) -> dict[str, Any]:
        """Biases of each expert."""
        sizes = [self.expert_size, self.expert_size, self.hidden_size]
        if not self.stacked_as:
            biases = [
                self.vectors_of(f"{at}{self.experts}", part, size)
                for part, size in zip(self.expert_parts, sizes, strict=True)
            ]
        elif self.are_apart:
            names = (f"{at}{name.removesuffix('weight')}bias" for name in self.stacked_as)
            biases = [self.rows_of(name, size) for name, size in zip(names, sizes, strict=True)]
        else:
            gate, down = (f"{at}{name}_bias" for name in self.stacked_as)
            biases = [self.rows_of(gate, 2 * self.expert_size), [], self.rows_of(down, self.hidden_size)]
        return {
            **super().merging(at),
            **dict(zip(("gateBias", "upBias", "downBias"), (each or None for each in biases), strict=True)),
        }

    def vectors_of(self, at: str, part: str, size: int) -> list[WeightReference]:
        """Each expert's vector, of a tensor of its own."""
        names = [f"{at}.{expert}.{part}.bias" for expert in range(self.num_experts)]
        self._shapes.update(dict.fromkeys(names, (size,)))
        return [self.weight[name] for name in names]

    def rows_of(self, name: str, size: int) -> list[WeightReference]:
        """Each expert's vector, of a tensor that holds all."""
        self._shapes[name] = (self.num_experts, size)
        return [self.weight[name].rows(e, e + 1).reshaped(size) for e in range(self.num_experts)]

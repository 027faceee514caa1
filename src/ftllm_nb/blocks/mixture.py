"""Decoders of whose feed-forwards some are mixtures of experts: a router chooses a few for each token."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import whole
from ftllm_nb.graph.references import WeightReference

SOFTMAX, SIGMOID, RAW = "SoftMax", "Sigmoid", None
"""What makes scores of the router's products: an operator, or nothing."""
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""What configs call the number of experts."""
_GATE_TYPES = {"Silu": 0, "Gelu": 3, "Relu2": 4}
"""MergeMOE's number for the feed-forward's activation."""


class MixtureDecoder(Decoder):
    """A `Decoder` with mixtures of experts in the layers of which `is_mixture` says so.

    `router`, `experts`, `expert_parts`: what their tensors are called behind the feed-forward's name: of each expert
    the gate, up and down. `shared`: the feed-forward that all tokens go through besides, None where there is none;
    `shared_gate`: the matrix whose product's sigmoid it is multiplied by. `scores`: of the constants above.
    `correction`: the name of a vector that is added for choosing alone.
    """

    router: ClassVar[str] = "gate"
    experts: ClassVar[str] = "experts"
    expert_parts: ClassVar[tuple[str, str, str]] = ("gate_proj", "up_proj", "down_proj")
    shared: ClassVar[str | None] = None
    shared_gate: ClassVar[str | None] = None
    scores: ClassVar[str | None] = SOFTMAX
    correction: ClassVar[str | None] = None
    _inner: int | None = None

    def is_mixture(self, number: int) -> bool:
        """Whether the layer's feed-forward is a mixture."""
        return True

    @property
    def num_experts(self) -> int:
        """Experts of a layer."""
        named = next((name for name in _EXPERTS if self.config.get(name) is not None), _EXPERTS[0])
        return whole(self.config, named, 0)

    @property
    def picks(self) -> int:
        """Experts of a token."""
        return whole(self.config, "num_experts_per_tok", 0)

    @property
    def expert_size(self) -> int:
        """Features inside of an expert."""
        return whole(self.config, "moe_intermediate_size", 0)

    @property
    def shared_size(self) -> int:
        """Features inside of what all tokens go through."""
        return self.expert_size

    @property
    def inner_size(self) -> int:
        """Features inside of the feed-forward that is being built."""
        return super().inner_size if self._inner is None else self._inner

    @property
    def normalizes(self) -> int:
        """What SelectExpert does with the scores that it picked."""
        return 1

    @property
    def routing(self) -> dict[str, Any]:
        """What SelectExpert takes besides."""
        return {}

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """The mixture, and what is shared; or a plain one."""
        if self.is_mixture(self.number) and self._inner is None:
            self.route(at, source)
            self.merge_experts(at, source, target)
            if self.shared is not None:
                self.add_shared(at, source, target)
        else:
            super().feed_forward(at, source, target)

    def route(self, at: str, source: str) -> None:
        """experts and weights [1, tokens, picks]."""
        self.linear(source, f"{at}{self.router}", self.num_experts, "scores")
        scores, bias = self.data["scores"], None
        if self.scores is not None:
            getattr(self, self.scores)(scores, scores)
        if self.correction is not None:
            bias = self.vector(f"{at}{self.correction}", self.num_experts)
        chosen, weights = self.data["experts"], self.data["weights"]
        self.SelectExpert(scores, chosen, weights, self.picks, self.normalizes, gateBias=bias, **self.routing)

    def vector(self, name: str, size: int) -> WeightReference:
        """A vector of the checkpoint."""
        self._shapes[name] = (size,)
        return self.weight[name]

    def merge_experts(self, at: str, source: str, target: str) -> None:
        """target = what the chosen experts make of the source."""
        gate_type = _GATE_TYPES.get(str(self.activation))
        if gate_type is None:
            raise GraphError(f"config.json's activation is {self.activation}, which experts here do not have.")
        inner, outer = (self.expert_size, self.hidden_size), (self.hidden_size, self.expert_size)
        parts = zip(self.expert_parts, (inner, inner, outer), strict=True)
        gate, up, down = (self.of_each_expert(at, part, shape) for part, shape in parts)
        self.MergeMOE(
            self.data[source], self.data["experts"], self.data["weights"], gate, up, down, self.data[target], gate_type
        )
        self._sizes[target] = self.hidden_size

    def of_each_expert(self, at: str, part: str, shape: tuple[int, int]) -> list[WeightReference]:
        """A matrix of each expert."""
        names = [f"{at}{self.experts}.{number}.{part}.weight" for number in range(self.num_experts)]
        self._shapes.update(dict.fromkeys(names, shape))
        return [self.weight[name] for name in names]

    def add_shared(self, at: str, source: str, target: str) -> None:
        """target += the shared feed-forward, times its gate where it has one."""
        self._inner = self.shared_size
        super().feed_forward(f"{at}{self.shared}.", source, "shared")
        self._inner = None
        if self.shared_gate is not None:
            self.linear(source, f"{at}{self.shared_gate}", 1, "shared.gate")
            self.Sigmoid(self.data["shared.gate"], self.data["shared.gate"])
            self.MulTo(self.data["shared"], self.data["shared.gate"])
        self.AddTo(self.data[target], self.data["shared"])

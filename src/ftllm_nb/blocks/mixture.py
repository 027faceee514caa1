"""Decoders of whose feed-forwards some are mixtures of experts: a router chooses a few for each token."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import whole
from ftllm_nb.graph.references import WeightReference
from ftllm_nb.ops.gelu import TANH_NAMES
from ftllm_nb.ops.select_expert import NORM_SUM

SOFTMAX, SIGMOID, RAW = "SoftMax", "Sigmoid", None
"""What makes scores of the router's products: an operator, or nothing."""
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""What configs call the number of experts."""
_MOST_EXPERTS = 10_000
"""Far more than any model has in a layer."""
_GATE_TYPES = {"silu": 0, "swish": 0, "gelu": 1, **dict.fromkeys(TANH_NAMES, 3)}
"""MergeMOE's number for the feed-forward's activation, and where there is no gate."""
_UNGATED_TYPES = {"relu2": 4}


class MixtureDecoder(Decoder):
    """A `Decoder` with mixtures of experts in the layers of which `is_mixture` says so.

    `router`, `experts`, `expert_parts`: what their tensors are called behind the feed-forward's name: of each expert
    the gate, up and down. `router_bias`: whether the router has one. `stacks`: the names of all experts' matrices as
    two tensors, gate and up in one and down in the other, which a checkpoint may have instead; `is_stacked`: whether it
    usually does; `are_stacks_transposed`: each matrix of them is [in, out]. `shared`: the feed-forward that all tokens
    go through besides, None where there is none; `shared_gate`: the matrix whose product's sigmoid it is multiplied by.
    `expert_entry`: the config's entry of an expert's size; `shared_entry`: that of the shared one's, and what it is
    where the config has none, or None where it is as large as an expert. `scores`: of the constants above.
    `correction`: the name of a vector that is added for choosing alone.
    """

    router: ClassVar[str] = "gate"
    router_bias: ClassVar[bool] = False
    experts: ClassVar[str] = "experts"
    expert_parts: ClassVar[tuple[str, str, str]] = ("gate_proj", "up_proj", "down_proj")
    stacks: ClassVar[tuple[str, str]] = ("experts.gate_up_proj", "experts.down_proj")
    is_stacked: ClassVar[bool] = False
    are_stacks_transposed: ClassVar[bool] = False
    shared: ClassVar[str | None] = None
    shared_gate: ClassVar[str | None] = None
    expert_entry: ClassVar[str] = "moe_intermediate_size"
    shared_entry: ClassVar[tuple[str, int] | None] = None
    scores: ClassVar[str | None] = SOFTMAX
    correction: str | None = None
    _inner: int | None = None

    def check_config(self) -> None:
        """That there are experts is read, even if none of so few layers has them."""
        for name in _EXPERTS:
            self.config.get(name)
        super().check_config()

    def is_mixture(self, number: int) -> bool:
        """Whether the layer's feed-forward is a mixture."""
        return True

    @property
    def num_experts(self) -> int:
        """Experts of a layer."""
        named = next((name for name in _EXPERTS if self.config.get(name) is not None), None)
        if named is None:
            raise GraphError(f"config.json has none of {', '.join(_EXPERTS)}, which say how many experts a layer has.")
        return whole(self.config, named, 0)

    @property
    def picks(self) -> int:
        """Experts of a token."""
        return self.size("num_experts_per_tok")

    @property
    def expert_size(self) -> int:
        """Features inside of an expert."""
        return self.size(self.expert_entry)

    @property
    def shared_size(self) -> int:
        """Features inside of what all tokens go through; 0 where there is nothing of it."""
        return self.expert_size if self.shared_entry is None else whole(self.config, *self.shared_entry)

    @property
    def inner_size(self) -> int:
        """Features inside of the feed-forward that is being built."""
        return super().inner_size if self._inner is None else self._inner

    @property
    def normalizes(self) -> int:
        """What SelectExpert does with the scores that it picked."""
        return NORM_SUM

    @property
    def routing(self) -> dict[str, Any]:
        """What SelectExpert takes besides."""
        return {}

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """The mixture, and what is shared; or a plain one."""
        if self.is_mixture(self.number) and self._inner is None:
            self.route(at, source)
            self.merge_experts(at, source, target)
            if self.shared is not None and self.shared_size:
                self.add_shared(at, source, target)
        else:
            super().feed_forward(at, source, target)

    def route(self, at: str, source: str) -> None:
        """experts and weights [1, tokens, picks]."""
        if not self.picks <= self.num_experts <= _MOST_EXPERTS:
            limit = "" if self.num_experts <= _MOST_EXPERTS else f"; there may be {_MOST_EXPERTS}"
            raise GraphError(
                f"config.json sends each token to {shown(self.picks)} experts, but layer {self.number} has "
                f"{shown(self.num_experts)}{limit}."
            )
        self.linear(source, f"{at}{self.router}", self.num_experts, "scores", self.router_bias)
        self.make_scores()
        scores, bias = self.data["scores"], None
        if self.correction is not None:
            bias = self.vector(f"{at}{self.correction}", self.num_experts)
        chosen, weights = self.data["experts"], self.data["weights"]
        self.SelectExpert(scores, chosen, weights, self.picks, self.normalizes, gateBias=bias, **self.routing)

    def make_scores(self) -> None:
        """Scores of the router's products, in place."""
        if self.scores is not None:
            getattr(self, self.scores)(self.data["scores"], self.data["scores"])

    def vector(self, name: str, size: int) -> WeightReference:
        """A vector of the checkpoint."""
        self._shapes[name] = (size,)
        return self.weight[name]

    @property
    def gate_type(self) -> int:
        """MergeMOE's number for what is between an expert's products."""
        named, known = self._named_activation, _GATE_TYPES if self.is_gated else _UNGATED_TYPES
        if not isinstance(named, str) or named not in known:
            raise GraphError(f"config.json's activation is {shown(named)}, which experts here do not have.")
        return known[named]

    def merging(self, at: str) -> dict[str, Any]:
        """What MergeMOE takes besides."""
        return {}

    @cached_property
    def stacked_as(self) -> tuple[str, ...]:
        """The names of all experts' matrices: two tensors or three, () where the checkpoint has them one by one."""
        parts = tuple(f"{self.experts}.{part}.weight" for part in self.own_parts)
        listed = f"{self.experts}.0.{self.own_parts[0]}.weight"
        for ending, answer in ((listed, ()), (self.stacks[0], self.stacks), (parts[0], parts)):
            if any(name.endswith(f".{ending}") for name in self.checkpoint_names):
                return answer
        return self.stacks if self.is_stacked else ()

    @property
    def own_parts(self) -> tuple[str, ...]:
        """What the matrices of an expert are called: those of gate, up and down, or of up and down alone."""
        return self.expert_parts if self.is_gated else self.expert_parts[1:]

    def merge_experts(self, at: str, source: str, target: str) -> None:
        """target = what the chosen experts make of the source."""
        inner, outer = self.expert_size, self._sizes[source]
        weights: list[WeightReference | list[WeightReference]]
        names = [f"{at}{name}" for name in self.stacked_as]
        if names:
            are_joined = self.is_gated and len(names) == 2
            weights = [self.stack(name, 2 * inner if are_joined else inner, outer) for name in names[:-1]]
            weights.append(self.stack(names[-1], outer, inner))
        else:
            shapes = [(inner, outer)] * (len(self.own_parts) - 1) + [(outer, inner)]
            weights = [
                self.of_each_expert(at, part, shape) for part, shape in zip(self.own_parts, shapes, strict=True)
            ]
        gate, *up, down = weights
        self.MergeMOE(
            self.data[source], self.data["experts"], self.data["weights"], gate, up[0] if up else None, down,
            self.data[target], self.gate_type, **self.merging(at),
        )  # fmt: skip
        self._sizes[target] = outer

    def stack(self, name: str, rows: int, columns: int) -> WeightReference:
        """A tensor of a matrix for each expert, [experts, rows, columns]; stacks of one part are never transposed."""
        is_transposed = self.are_stacks_transposed and name.endswith(self.stacks)
        shape = (columns, rows) if is_transposed else (rows, columns)
        self._shapes[name] = (self.num_experts, *shape)
        return self.weight[name].transposed() if is_transposed else self.weight[name]

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

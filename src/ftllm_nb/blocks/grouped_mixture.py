"""What DeepSeek's mixtures of experts and their relatives share: dense layers first, groups of experts, shared ones."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.blocks.mixture import SIGMOID, MixtureDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, positive_or, whole

SPARSE, DENSE = "sparse", "dense"


class GroupedMixtureDecoder(MixtureDecoder):
    """A `MixtureDecoder` whose experts are chosen from the best groups, by sigmoids and a correction of them.

    `first_mixture`: the first layer with experts, `factor`: of weights, and `groups`: n_group and topk_group, where
    the config does not say; `group_top`: how many of a group's experts count for it.
    """

    shared = "shared_experts"
    scores = SIGMOID
    correction: str | None = "gate.e_score_correction_bias"
    first_mixture: ClassVar[int] = 0
    factor: ClassVar[float] = 1.0
    groups: ClassVar[tuple[int, int]] = (1, 1)
    group_top: ClassVar[int] = 2

    def is_mixture(self, number: int) -> bool:
        """As mlp_layer_types says, or from layer first_k_dense_replace on each moe_layer_freq-th."""
        kinds = self.config.get("mlp_layer_types")
        if kinds is None:
            first = whole(self.config, "first_k_dense_replace", self.first_mixture, least=0)
            return number >= first and number % whole(self.config, "moe_layer_freq", 1) == 0
        known = isinstance(kinds, list) and len(kinds) == self.num_layers
        if not known or any(kind not in (SPARSE, DENSE) for kind in kinds):
            raise GraphError(
                f'config.json\'s mlp_layer_types must have "{SPARSE}" or "{DENSE}" for each of {self.num_layers} '
                f"layers, but it is {shown(kinds)}."
            )
        return bool(kinds[number] == SPARSE)

    def check_config(self) -> None:
        """Scores are made as this architecture makes them."""
        given = self.config.get("scoring_func")
        if given is not None and given != str(self.scores).lower():
            raise GraphError(
                f"config.json's scoring_func is {shown(given)}, but this architecture's is {str(self.scores).lower()}."
            )
        super().check_config()

    @property
    def shared_size(self) -> int:
        """n_shared_experts experts side by side, where it has no entry of its own."""
        if self.shared_entry is not None:
            return super().shared_size
        return self.expert_size * whole(self.config, "n_shared_experts", 0, least=0)

    @property
    def normalizes(self) -> int:
        """As norm_topk_prob says."""
        return int(flag(self.config, "norm_topk_prob", True))

    @property
    def routing(self) -> dict[str, Any]:
        """Groups, the factor of weights, and what keeps them finite."""
        groups, top_groups = (
            whole(self.config, name, default)
            for name, default in zip(("n_group", "topk_group"), self.groups, strict=True)
        )
        factor = positive_or(self.config, "routed_scaling_factor", self.factor)
        limits = {"groups": groups, "topGroups": top_groups, "groupTop": self.group_top} if groups > 1 else {}
        return {"routeScale": factor, "epsilon": 1e-20, **limits}

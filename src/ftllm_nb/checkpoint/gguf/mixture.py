"""How llama.cpp has mixtures of experts: stacks of all experts' gates, ups and downs, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture
from ftllm_nb.checkpoint.gguf.guessing import GuessingArchitecture
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel
from ftllm_nb.errors import CheckpointError

SOFTMAX, SIGMOID = 1, 2
"""Values of expert_gating_func: what makes scores of the router's products."""
_PARTS = ("gate_proj", "up_proj", "down_proj")
_CORRECTION = "exp_probs_b.bias"


def expert_names(
    at: str,
    router: str = "gate",
    parts: tuple[str, str, str] = _PARTS,
    shared: str | None = None,
    correction: str | None = None,
) -> dict[str, str]:
    """llama.cpp's names of a mixture's tensors → Hugging Face's, behind the name `at` of a layer's feed-forward; the
    other names are those of `MixtureDecoder`."""
    at, found = f"model.layers.*.{at}", dict[str, str]()
    for kind, part, own in zip(("gate", "up", "down"), parts, _PARTS, strict=True):
        found[f"blk.*.ffn_{kind}_exps"] = f"{at}.experts.{part}"
        if shared is not None:
            found[f"blk.*.ffn_{kind}_shexp"] = f"{at}.{shared}.{own}"
    if correction is not None:
        found[f"blk.*.{_CORRECTION}"] = f"{at}.{correction}"
    return {"blk.*.ffn_gate_inp": f"{at}.{router}", **found}


class MixtureArchitecture(Architecture):
    """An `Architecture` with experts.

    `experts_entry`, `picks_entry`: what the config calls their number, and how many a token goes to. `gating`: how
    scores are made, where files do not say. `tells_expert_size`: whether files that are written say how large an expert
    is; `tells_shared_size`: and how large what all tokens go through.
    """

    names: ClassVar[Mapping[str, str]] = NAMES | expert_names("mlp")
    experts_entry: ClassVar[str] = "num_experts"
    picks_entry: ClassVar[str] = "num_experts_per_tok"
    gating: ClassVar[int] = SOFTMAX
    tells_expert_size: ClassVar[bool] = True
    tells_shared_size: ClassVar[bool] = False

    def config(self) -> dict[str, Any]:
        """With the numbers of experts. Raises `CheckpointError` for scores that are made in another way."""
        gating = self.metadata.whole("expert_gating_func", self.gating, least=0) or self.gating
        if gating != self.gating:
            raise CheckpointError(
                f"{self.file.path} makes the scores of experts in another way (expert_gating_func {gating}) than this "
                f"architecture ({self.gating}), so that it would choose others: describe the model in a Python file "
                "and give it with --custom FILE."
            )
        return super().config() | {
            self.experts_entry: self.metadata.whole("expert_count"),
            self.picks_entry: self.metadata.whole("expert_used_count"),
        }

    @property
    def expert_size(self) -> int:
        """Features inside of an expert."""
        return self.metadata.whole("expert_feed_forward_length", self.rows_where("ffn_up_exps"))

    def rows_where(self, part: str) -> int | None:
        """Rows of the matrices that the first layer with such a tensor has; None where no layer has any."""
        shapes = (self.file.tensors.get(f"blk.{layer}.{part}.weight") for layer in range(self.layers))
        return next((tensor.shape[-2] for tensor in shapes if tensor is not None and len(tensor.shape) > 1), None)

    def has(self, tensor: str) -> bool:
        """Whether the first layer has a tensor."""
        return f"blk.0.{tensor}" in self.file.tensors

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the numbers of experts, and what they and what is shared have inside."""
        stack, shared = (cls.shape_of(model, f"ffn_up_{kind}.weight") for kind in ("exps", "shexp"))
        if stack is None:
            return super().entries(model)
        found = {
            **super().entries(model),
            "expert_count": stack[0],
            "expert_used_count": model.picks,
        }
        if cls.tells_expert_size:
            found["expert_feed_forward_length"] = stack[1]
        if cls.gating != SOFTMAX:
            found["expert_gating_func"] = cls.gating
        if cls.tells_shared_size and shared is not None:
            found["expert_shared_feed_forward_length"] = shared[0]
        return found


class GroupedMixtureArchitecture(GuessingArchitecture, MixtureArchitecture):
    """A `MixtureArchitecture` as DeepSeek's and its relatives: dense layers first, groups of experts, shared ones."""

    experts_entry = "n_routed_experts"
    gating = SIGMOID

    def config(self) -> dict[str, Any]:
        """With what DeepSeek's configs say of experts."""
        whole = self.metadata.whole
        return super().config() | {
            "moe_intermediate_size": self.expert_size,
            "n_shared_experts": whole("expert_shared_count", 0, least=0),
            "first_k_dense_replace": whole("leading_dense_block_count", 0, least=0),
            "norm_topk_prob": self.metadata.flag("expert_weights_norm", False),
            "routed_scaling_factor": self.metadata.real("expert_weights_scale", 0.0) or 1.0,
            "n_group": whole("expert_group_count", 1, least=0) or 1,
            "topk_group": whole("expert_group_used_count", 1, least=0) or 1,
        }

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With groups, what is shared, and what weights are multiplied by."""
        mixtures = cls.layers_with(model, "ffn_gate_inp.weight")
        return {
            **super().entries(model),
            **group_entries(model),
            "leading_dense_block_count": mixtures[0] if mixtures else model.layers,
            "expert_gating_func": cls.gating,
        }


def group_entries(model: OutgoingModel) -> dict[str, Any]:
    """What metadata says of mixtures of DeepSeek's form and their relatives."""
    routing = model.routing
    return {
        "expert_shared_count": model.first("n_shared_experts"),
        "expert_weights_scale": float(routing.get("routeScale", 1.0)),
        "expert_weights_norm": bool(routing.get("needNorm")),
        "expert_group_count": int(routing.get("groups", 1)),
        "expert_group_used_count": int(routing.get("topGroups", 1)),
    }

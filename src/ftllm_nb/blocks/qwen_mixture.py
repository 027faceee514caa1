"""What Qwen's mixtures of experts share: which layers are mixtures, and whether weights are normalized."""

from __future__ import annotations

from ftllm_nb.blocks.mixture import MixtureDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, whole


class QwenMixtureDecoder(MixtureDecoder):
    """A `MixtureDecoder` with the layers of Qwen's configs."""

    def is_mixture(self, number: int) -> bool:
        """Each decoder_sparse_step-th layer, but for those of mlp_only_layers."""
        dense = self.config.get("mlp_only_layers") or []
        if not isinstance(dense, list):
            raise GraphError(f"config.json's mlp_only_layers must be a list of layers, but it is {shown(dense)}.")
        return number not in dense and (number + 1) % whole(self.config, "decoder_sparse_step", 1) == 0

    @property
    def normalizes(self) -> int:
        """As norm_topk_prob says."""
        return int(flag(self.config, "norm_topk_prob", False))

"""How llama.cpp has recurrent layers: what their tensors are called and how they lie, and which layers attend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.file import GgufFile
from ftllm_nb.checkpoint.gguf.metadata import Metadata
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.checkpoint.gguf.way_out import FULL, OutgoingModel
from ftllm_nb.errors import CheckpointError

MAMBA_ENTRIES = {
    "heads": "mamba_n_heads", "head_dim": "mamba_d_head", "state": "mamba_d_state", "groups": "mamba_n_groups",
    "taps": "mamba_d_conv", "conv_bias": "mamba_conv_bias", "proj_bias": "mamba_proj_bias",
}  # fmt: skip
"""What most configs call the sizes of Mamba-2's layers."""
_CONVOLUTIONS = ("ssm_conv1d", "conv")


def recurrent_names(at: str, layers: str = "model.layers") -> dict[str, str]:
    """llama.cpp's names of a recurrent layer's tensors → Hugging Face's, behind the layer's name `at` for them."""
    at = f"{layers}.*.{at}"
    return {
        "blk.*.ssm_in": f"{at}.in_proj",
        "blk.*.ssm_conv1d": f"{at}.conv1d",
        "blk.*.ssm_a": f"{at}.A_log",
        "blk.*.ssm_d": f"{at}.D",
        "blk.*.ssm_dt.bias": f"{at}.dt_bias",
        "blk.*.ssm_norm": f"{at}.norm",
        "blk.*.ssm_out": f"{at}.out_proj",
    }


class RecurrentArchitecture(Architecture):
    """An `Architecture` of whose layers some are recurrent.

    Convolutions are matrices in a file, decays and the norms of groups vectors with a second axis, and norms of
    recurrent layers have nothing added to them.
    """

    def __init__(self, file: GgufFile, metadata: Metadata) -> None:
        self.all_layers = metadata.whole("block_count")
        """Those that guess further tokens included: lists have a number for each."""
        super().__init__(file, metadata)

    def key_heads(self) -> list[int]:
        """Heads of keys and values of each layer, 0 where it does not attend."""
        return self.metadata.wholes("attention.head_count_kv", self.all_layers, self.heads, 0)[: self.layers]

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values of layers that attend; 1 where none does."""
        counts = {each for each in self.key_heads() if each}
        if len(counts) > 1:
            raise CheckpointError(
                f"{self.file.path} has layers whose attention.head_count_kv differ "
                f"({', '.join(map(str, sorted(counts)))}), which this architecture does not do."
            )
        return max(counts, default=1)

    def kinds_by_heads(self, recurrent: str) -> list[str]:
        """The kind of each layer: one without heads of keys is `recurrent`."""
        return [FULL if each else recurrent for each in self.key_heads()]

    @classmethod
    def head_list(cls, model: OutgoingModel) -> NDArray[np.int32]:
        """Heads of keys of each layer, 0 where it does not attend."""
        attend = cls.layers_with(model, "attn_k.weight")
        return np.array([model.kv_heads if layer in attend else 0 for layer in range(model.layers)], np.int32)

    @classmethod
    def file_shapes(cls, model: OutgoingModel) -> dict[str, tuple[int, ...]]:
        """The other way round: convolutions without their middle axis, and the second axes of what Mamba-2 has."""
        found, groups = super().file_shapes(model), cls.norm_groups(model)
        for name, shape in found.items():
            part = name.removesuffix(".weight").split(".")[-1]
            if part in _CONVOLUTIONS and name.endswith(".weight"):
                found[name] = (shape[0], shape[-1])
            elif groups and part in ("ssm_a", "ssm_d"):
                found[name] = (*shape, 1)
            elif groups and part == "ssm_norm":
                found[name] = (groups, shape[0] // groups)
        return found

    @classmethod
    def norm_groups(cls, model: OutgoingModel) -> int:
        """Groups of which each has a norm of what Mamba-2 reads; 0 where recurrent layers are no Mamba-2."""
        return 0

    @classmethod
    def mamba_entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """The sizes of Mamba-2's layers."""
        taps = cls.shape_of(model, "ssm_conv1d.weight")
        read, heads = cls.shape_of(model, "ssm_out.weight"), cls.shape_of(model, "ssm_d") or (0,)
        assert taps is not None and read is not None
        inner, groups = read[-1], cls.norm_groups(model)
        return {
            "ssm.conv_kernel": taps[-1],
            "ssm.state_size": (taps[0] - inner) // groups // 2,
            "ssm.group_count": groups,
            "ssm.inner_size": inner,
            "ssm.time_step_rank": heads[0],
        }

    def has_any(self, tensor: str) -> bool:
        """Whether some layer has such a tensor."""
        return any(name.endswith(f".{tensor}") for name in self.file.tensors)

    def mamba_sizes(self, **names: str) -> dict[str, Any]:
        """What a config says of Mamba-2's layers, by the names that it has for heads, head_dim, state, groups, taps,
        conv_bias and proj_bias."""
        whole, heads = self.metadata.whole, self.metadata.whole("ssm.time_step_rank")
        found = {
            "heads": heads,
            "head_dim": self.whole_ratio("ssm.inner_size", "ssm.time_step_rank", heads),
            "state": whole("ssm.state_size"),
            "groups": whole("ssm.group_count"),
            "taps": whole("ssm.conv_kernel"),
            "conv_bias": self.has_any("ssm_conv1d.bias"),
            "proj_bias": self.has_any("ssm_in.bias"),
        }
        return {own: found[name] for name, own in names.items()}

    def whole_ratio(self, name: str, unit_name: str, unit: int) -> int:
        """An entry, divided by another number. Raises `CheckpointError` where that is not whole."""
        size = self.metadata.whole(name)
        if size % unit:
            raise CheckpointError(
                f"{self.file.path} has {size} as its {name}, which its {unit_name} {unit} does not divide: the file is "
                "damaged."
            )
        return size // unit

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """As the model has them."""
        shape = self.file.tensors[name].shape
        part = name.removesuffix(".weight").split(".")[-1]
        if part in _CONVOLUTIONS and name.endswith(".weight"):
            return {target: Source(name, (shape[0], 1, *shape[1:]))}
        if part in ("ssm_a", "ssm_d", "ssm_norm"):
            return {target: Source(name, (math.prod(shape),), is_decay=part == "ssm_a")}
        return super().sources_of(name, target)

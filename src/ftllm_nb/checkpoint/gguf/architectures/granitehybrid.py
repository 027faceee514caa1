"""Granite 4's hybrids, and Bamba, whose layers are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.architectures.granite import Granite
from ftllm_nb.checkpoint.gguf.made import Made, Relaid, rows_of
from ftllm_nb.checkpoint.gguf.mixture import expert_names
from ftllm_nb.checkpoint.gguf.recurrent import MAMBA_ENTRIES, RecurrentArchitecture, recurrent_names
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel, WayOut

_SHARED = {"gate": "gate_proj", "up": "up_proj", "down": "output_linear"}
_FEED_FORWARD = {f"blk.*.ffn_{part}" for part in _SHARED}


class GraniteHybrid(RecurrentArchitecture, Granite):
    """llama.cpp's `granitehybrid`: with or without experts, and with or without rotations."""

    model_type = "granitemoehybrid"
    writes = ("granitemoehybrid",)
    shared: ClassVar[str] = "ffn_up"
    names: ClassVar = {
        **{name: target for name, target in NAMES.items() if name not in _FEED_FORWARD},
        **recurrent_names("mamba"),
        **expert_names("block_sparse_moe", router="router.layer"),
        **{
            f"blk.*.ffn_{part}{ending}": f"model.layers.*.shared_mlp.{own}"
            for part, own in _SHARED.items()
            for ending in ("_shexp", "")
        },
    }

    def refuse_unturned(self) -> None:
        """Models without rotations are read, too."""

    def config(self) -> dict[str, Any]:
        """With the sizes of Mamba-2's layers and the numbers of experts."""
        whole = self.metadata.whole
        config = super().config()
        experts = whole("expert_count", 0, least=0)
        self.metadata.read("expert_feed_forward_length")
        turns = self.metadata.flag("rope.scaling.finetuned", True)
        return config | {
            "layer_types": self.kinds_by_heads("linear_attention"),
            "position_embedding_type": "rope" if turns else "nope",
            "num_local_experts": experts,
            "num_experts_per_tok": whole("expert_used_count", 0, least=0),
            "shared_intermediate_size": whole(
                "expert_shared_feed_forward_length", 0 if experts else self.inner_size, least=0
            ) or self.inner_size,
            "mamba_expand": self.whole_ratio("ssm.inner_size", "embedding_length", self.hidden_size),
            **self.mamba_sizes(**MAMBA_ENTRIES),
        }  # fmt: skip

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the sizes of Mamba-2's layers and the numbers of experts."""
        shared, stack = (cls.shape_of(model, f"{name}.weight") for name in (cls.shared, "ffn_up_exps"))
        found = {
            **super().entries(model),
            "attention.head_count_kv": cls.head_list(model),
            "expert_shared_feed_forward_length": shared[0] if shared else 0,
            "rope.scaling.finetuned": bool(model.turning),
            "rope.dimension_count": model.turning_of() if model.turning else model.head_dim,
            **cls.mamba_entries(model),
        }
        return found if stack is None else {**found, "expert_count": stack[0], "expert_used_count": model.picks}

    @classmethod
    def of_model(cls, config: Mapping[str, Any]) -> type[WayOut]:
        """What all tokens go through has another name beside experts."""
        return _BesideExperts if config.get("num_local_experts") else cls

    @classmethod
    def norm_groups(cls, model: OutgoingModel) -> int:
        """From the config."""
        return int(model.config["mamba_n_groups"])

    @classmethod
    def relaid(cls, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Relaid:
        """Gates and ups of what all tokens go through apart."""
        made: dict[str, Made] = {}
        for name, shape in shapes.items():
            if name.endswith("shared_mlp.input_linear.weight"):
                half = shape[0] // 2
                for part, rows in (("gate_proj", slice(half)), ("up_proj", slice(half, None))):
                    made[name.replace("input_linear", part)] = rows_of(name, shape, rows)
        return Relaid(made)


class _BesideExperts(GraniteHybrid):
    """One with experts, which is written with other names."""

    shared = "ffn_up_shexp"
    names: ClassVar = {name: own for name, own in GraniteHybrid.names.items() if name not in _FEED_FORWARD}


ARCHITECTURE = GraniteHybrid

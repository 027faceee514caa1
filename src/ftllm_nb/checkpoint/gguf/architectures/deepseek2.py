"""DeepSeek V2, V3, R1 and GLM-4.7-Flash: latent attention and experts in groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture
from ftllm_nb.checkpoint.gguf.file import GgufFile
from ftllm_nb.checkpoint.gguf.latent import LATENT, LatentArchitecture
from ftllm_nb.checkpoint.gguf.made import Made, Piece, Relaid
from ftllm_nb.checkpoint.gguf.metadata import Metadata
from ftllm_nb.checkpoint.gguf.mixture import SIGMOID, SOFTMAX, GroupedMixtureArchitecture, expert_names
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel

_SIGMOID_LAYERS = (47, 48)
"""Old files of GLM-4.7-Flash, of so many layers, do not say how scores are made, as those of DeepSeek V2 do not."""


class DeepSeekV3(GroupedMixtureArchitecture, LatentArchitecture):
    """llama.cpp's `deepseek2` with sigmoids for scores."""

    model_type = "deepseek_v3"
    writes: ClassVar[tuple[str, ...]] = ("deepseek_v3", "glm4_moe_lite")
    names: ClassVar = {
        **NAMES,
        **LATENT,
        **expert_names("mlp", shared="shared_experts", correction="gate.e_score_correction_bias"),
    }

    @classmethod
    def of(cls, file: GgufFile, metadata: Metadata) -> Architecture:
        """By how scores are made."""
        usual = SIGMOID if metadata.whole("block_count") in _SIGMOID_LAYERS else SOFTMAX
        gating = metadata.whole("expert_gating_func", 0, least=0) or usual
        return (cls if gating == SIGMOID else DeepSeekV2)(file, metadata)

    def scaling(self) -> dict[str, Any] | None:
        """The file has a tenth of what attention is sharpened by, which shifts its decimal point."""
        scaling = super().scaling()
        tenth = self.metadata.real("rope.scaling.yarn_log_multiplier", 0.0)
        if scaling is None or not tenth:
            return scaling
        factor = _times_ten(tenth)
        return {**scaling, "mscale": factor, "mscale_all_dim": factor}

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With latent vectors as the only keys, and a tenth of what attention is sharpened by."""
        found, section = super().entries(model), model.section()
        latent, turning = (int(model.config[name]) for name in ("kv_lora_rank", "qk_rope_head_dim"))
        found |= {"attention.head_count_kv": 1, "attention.key_length": latent + turning}
        found |= {"attention.value_length": latent}
        found["attention.key_length_mla"] = int(model.config["qk_nope_head_dim"]) + turning
        found["attention.value_length_mla"] = int(model.config["v_head_dim"])
        if section.get("mscale_all_dim"):
            found["rope.scaling.yarn_log_multiplier"] = 0.1 * float(section["mscale_all_dim"])
        return found

    @classmethod
    def relaid(cls, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Relaid:
        """What makes keys and values of latent vectors, as stacks of a matrix for each head, that of keys turned."""
        still, value = int(config["qk_nope_head_dim"]), int(config["v_head_dim"])
        made: dict[str, Made] = {}
        for name, (rows, latent) in ((name, shape) for name, shape in shapes.items() if ".kv_b_proj.weight" in name):
            heads = rows // (still + value)
            by_head = (heads, still + value, latent)
            made[name.replace("kv_b", "k_b")] = Made(
                (heads, latent, still),
                (Piece(name, lambda array, by_head=by_head: array.reshape(by_head)[:, :still].swapaxes(1, 2)),),  # type: ignore[misc]
            )
            made[name.replace("kv_b", "v_b")] = Made(
                (heads, value, latent), (Piece(name, lambda array, by_head=by_head: array.reshape(by_head)[:, still:]),)  # type: ignore[misc]
            )
        return Relaid(made)


class DeepSeekV2(DeepSeekV3):
    """The same with softmax."""

    model_type = "deepseek_v2"
    writes = ("deepseek_v2",)
    gating = SOFTMAX

    def config(self) -> dict[str, Any]:
        """Experts are of groups where there are several."""
        config = super().config()
        return config | {"topk_method": "group_limited_greedy" if config["n_group"] > 1 else "greedy"}


DeepSeekV3.forms = (DeepSeekV2,)


def _times_ten(number: float) -> float:
    """Ten times a decimal number, exactly."""
    digits, _, exponent = f"{number!r}".partition("e")
    return float(f"{digits}e{int(exponent or 0) + 1}")


ARCHITECTURE = DeepSeekV3

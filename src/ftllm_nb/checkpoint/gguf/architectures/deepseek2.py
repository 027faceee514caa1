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
_LITE_LAYERS, _LITE_SIZES = (26, 27), (48, 128256)
"""By how many layers there are, or layers and tokens, llama.cpp knows that queries are made without a step between."""


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
    def refused(cls, model: OutgoingModel) -> list[str]:
        """Queries without a step between, but of models of the layers that it knows, and biases of attention."""
        found = []
        is_lite = model.layers in _LITE_LAYERS or (model.layers, model.config.get("vocab_size")) == _LITE_SIZES
        if not model.config.get("q_lora_rank") and not is_lite:
            numbers = " or ".join(map(str, _LITE_LAYERS))
            found.append(
                "llama.cpp may not open this file: the model has no q_lora_rank, which llama.cpp expects of a DeepSeek "
                f"that has not {numbers} layers, and this one has {model.layers}."
            )
        attending = (name for name in sorted(model.shapes) if ".self_attn." in name)
        biases = [cls.file_name(name) for name in attending if name.endswith(".bias")]
        if biases:
            found.append(
                f"llama.cpp may not open this file: it has biases of attention ({biases[0]}), for which llama.cpp has "
                "no place in a DeepSeek."
            )
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

"""GLM-4.7-Flash: DeepSeek V3's form."""

from __future__ import annotations

from ftllm_nb.models.deepseek_v3 import DeepseekV3Model


class Glm4MoeLiteModel(DeepseekV3Model):
    """The graph of `Glm4MoeLiteForCausalLM`."""

    first_mixture = 1
    factor = 1.8
    groups = (1, 1)


__model__ = Glm4MoeLiteModel

"""Kimi Linear: delta nets with a decay of each channel, latent attention without positions, and experts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from ftllm_nb.blocks import GroupedMixtureDecoder, LatentAttentionDecoder, SeparateDeltaNetDecoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, layer_numbers, whole
from ftllm_nb.graph.layer_kinds import FULL
from ftllm_nb.ops.gated_rms_norm import SIGMOID


class KimiLinearModel(GroupedMixtureDecoder, SeparateDeltaNetDecoder, LatentAttentionDecoder):
    """The graph of `KimiLinearForCausalLM` (arXiv 2510.26692)."""

    recurrent_names = "self_attn"
    expert_parts = ("w1", "w3", "w2")
    first_mixture = 1
    factor = 2.446
    entry_names: ClassVar[Mapping[str, str]] = {
        "max_position_embeddings": "model_max_length",
        "norm_topk_prob": "moe_renormalize",
        "n_group": "num_expert_group",
        "num_experts_per_tok": "num_experts_per_token",
        "n_shared_experts": "num_shared_experts",
        "scoring_func": "moe_router_activation_func",
    }

    def check_config(self) -> None:
        """Nothing turns by its position, and norms add 1e-5 where the config does not say."""
        if not flag(self.config, "mla_use_nope", True):
            raise GraphError("config.json's mla_use_nope is false, but this architecture's attention has no rotations.")
        self.config["rope_scaling"] = self.config["rope_parameters"] = None
        if self.config.get("rms_norm_eps") is None:
            self.config["rms_norm_eps"] = 1e-5
        super().check_config()

    @property
    def linear_config(self) -> Mapping[str, Any]:
        """What the config says of delta nets; transformers writes that beside all else."""
        section = self.config.get("linear_attn_config") or {}
        if not isinstance(section, Mapping):
            raise GraphError(f"config.json's linear_attn_config must be an object, but it is {shown(section)}.")
        return section

    def usual_kinds(self) -> list[str]:
        """Layers of full_attn_layers attend, which count from 1; else each fourth but the first."""
        given = self.linear_config.get("full_attn_layers")
        if given is None:
            return [FULL if i and i % 4 == 0 else self.recurrent_kind for i in range(self.num_layers)]
        attending = layer_numbers(given, "full_attn_layers", 1, self.num_layers)
        return [FULL if number + 1 in attending else self.recurrent_kind for number in range(self.num_layers)]

    @property
    def shared_size(self) -> int:
        """Of one expert where the config does not say."""
        return self.expert_size * whole(self.config, "n_shared_experts", 1, least=0)

    def rotates(self, number: int) -> bool:
        """None does: delta nets tell positions apart."""
        return False

    def layer(self, number: int, at: str) -> None:
        """Feed-forwards with experts have a name of their own; in folders of transformers all have one of the two."""
        names = ("mlp", "block_sparse_moe")
        usual, matrix = (names[1], "gate") if self.is_mixture(number) else (names[0], "gate_proj")
        saved = [each for each in names if f"{at}{each}.{matrix}.weight" in self.checkpoint_names]
        self.names = dataclasses.replace(self.names, feed_forward=saved[0] if saved else usual)
        super().layer(number, at)

    def recurrent_layer(self, number: int, at: str, source: str, target: str) -> None:
        """A delta net of whose keys each channel decays by itself; matrices of the decay and of the gate are two
        factors."""
        config, section, data = self.config, self.linear_config, self.data
        dim = whole(section, "head_dim", whole(config, "linear_head_dim", 128))
        heads = whole(section, "num_heads", whole(config, "linear_num_heads", 32))
        taps = whole(section, "short_conv_kernel_size", whole(config, "linear_conv_kernel_dim", 4))
        self.project_states(number, at, source, taps, q=(heads, dim), k=(heads, dim), v=(heads, dim))
        for name, weight in (("g", "f"), ("z", "g")):
            self.linear(source, f"{at}{weight}_a_proj", dim, f"{name}.low")
            self.linear(f"{name}.low", f"{at}{weight}_b_proj", heads * dim, name)
        self.linear(source, f"{at}b_proj", heads, "b")
        self.Sigmoid(data["b"], data["b"])
        self.ExpandHead(data["g"], dim)
        self._shapes[f"{at}A_log"] = (1, 1, heads, 1)
        rates = self.weight[f"{at}A_log"].reshaped(heads)
        self.MambaSoftplus(data["g"], rates, self.vector(f"{at}dt_bias", heads * dim), data["g"])
        self.read_states(number, at, source, target, heads, (dim, dim), self.eps, SIGMOID)


__model__ = KimiLinearModel

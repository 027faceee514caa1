"""Gemma 4's text models, of which 26B-A4B has experts beside the feed-forward."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.gguf.architecture import AROUND_BRANCHES, LAYER_EMBEDDINGS, NAMES, Architecture, part_of
from ftllm_nb.checkpoint.gguf.way_out import FULL, ROPE_FACTORS, SLIDING, OutgoingModel
from ftllm_nb.errors import CheckpointError

_STANDS_STILL = 1e20
"""An angle that is divided by so much does not turn."""


class Gemma4(Architecture):
    """llama.cpp's `gemma4`."""

    model_type = "gemma4_text"
    writes = ("gemma4_text", "gemma4_unified_text")
    keeps_floats = ("per_layer_model_proj",)
    writes_unread = True
    names: ClassVar = {
        **NAMES,
        **AROUND_BRANCHES,
        **LAYER_EMBEDDINGS,
        "blk.*.layer_output_scale.weight": "model.layers.*.layer_scalar",
        "blk.*.ffn_gate_inp": "model.layers.*.router.proj",
        "blk.*.ffn_gate_up_exps.weight": "model.layers.*.experts.gate_up_proj",
        "blk.*.ffn_down_exps.weight": "model.layers.*.experts.down_proj",
        "blk.*.ffn_gate_inp.scale": "model.layers.*.router.scale",
        "blk.*.ffn_down_exps.scale": "model.layers.*.router.per_expert_scale",
        "blk.*.post_ffw_norm_1": "model.layers.*.post_feedforward_layernorm_1",
        "blk.*.pre_ffw_norm_2": "model.layers.*.pre_feedforward_layernorm_2",
        "blk.*.post_ffw_norm_2": "model.layers.*.post_feedforward_layernorm_2",
    }

    def config(self) -> dict[str, Any]:
        """Layers that slide and those that see everything have sizes of their own."""
        metadata = self.metadata
        own = metadata.whole("embedding_length_per_layer_input", 0, least=0)
        windows = self.windows(6, metadata.whole("attention.sliding_window"))
        kinds = windows["layer_types"]
        shared = metadata.whole("attention.shared_kv_layers", 0, least=0)
        heads = self.by_kind(metadata.wholes("attention.head_count_kv", self.layers, self.heads), kinds)
        sizes = metadata.wholes("feed_forward_length", self.layers)
        sliding_dim = metadata.whole("attention.key_length_swa", self.head_dim)
        metadata.read("attention.value_length_swa")
        full = next((number for number, kind in enumerate(kinds) if kind == FULL), self.layers - 1)
        config = {
            "model_type": self.model_type,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "intermediate_size": sizes[0],
            "use_double_wide_mlp": sizes[-1] == 2 * sizes[0],
            "num_attention_heads": self.heads,
            "num_key_value_heads": heads.get(SLIDING, heads.get(FULL)),
            "num_global_key_value_heads": heads.get(FULL),
            "head_dim": sliding_dim,
            "global_head_dim": self.head_dim,
            "attention_k_eq_v": f"blk.{full}.attn_v.weight" not in self.file.tensors,
            "num_kv_shared_layers": shared,
            "hidden_size_per_layer_input": own,
            "vocab_size": self.rows_of("token_embd.weight"),
            "max_position_embeddings": metadata.whole("context_length"),
            "rms_norm_eps": metadata.real(self.eps_key),
            "final_logit_softcapping": metadata.real("final_logit_softcapping", 0.0) or None,
            "tie_word_embeddings": "output.weight" not in self.file.tensors,
            "rope_parameters": self.tables(sliding_dim),
            **windows,
        }
        if metadata.whole("expert_count", 0, least=0):
            config |= {
                "enable_moe_block": True,
                "num_experts": metadata.whole("expert_count"),
                "top_k_experts": metadata.whole("expert_used_count"),
                "moe_intermediate_size": metadata.whole("expert_feed_forward_length"),
            }
        if own:
            config["vocab_size_per_layer_input"] = self.rows_of("per_layer_token_embd.weight")
        self.require_sizes()
        return config

    def by_kind(self, numbers: list[int], kinds: list[str]) -> dict[str, int]:
        """The number that layers of a kind have."""
        found = {kind: {each for each, own in zip(numbers, kinds, strict=True) if own == kind} for kind in set(kinds)}
        if any(len(each) > 1 for each in found.values()):
            raise CheckpointError(f"{self.file.path} has layers of one kind with different numbers of heads of keys.")
        return {kind: each.pop() for kind, each in found.items()}

    def tables(self, sliding_dim: int) -> dict[str, Any]:
        """The rotations of both kinds of layers: in those that see everything, the first angles turn."""
        metadata = self.metadata
        full: dict[str, Any] = {"rope_theta": metadata.real("rope.freq_base", 10000.0)}
        sliding: dict[str, Any] = {"rope_theta": metadata.real("rope.freq_base_swa", 10000.0)}
        metadata.read("rope.dimension_count")
        turning = metadata.whole("rope.dimension_count_swa", sliding_dim)
        if turning != sliding_dim:
            sliding["partial_rotary_factor"] = part_of(turning, sliding_dim)
        if ROPE_FACTORS in self.file.tensors:
            divisors = self.numbers(ROPE_FACTORS)
            angles = sum(each == 1 for each in divisors)
            if divisors[:angles] == [1] * angles and all(each > _STANDS_STILL for each in divisors[angles:]):
                full |= {"rope_type": "proportional", "partial_rotary_factor": angles / len(divisors)}
            else:
                full |= {"rope_type": "divided", "divisors": divisors}
        return {FULL: full, SLIDING: sliding}

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the sizes of both kinds of layers."""
        config, kinds = model.config, model.config["layer_types"]
        dims, heads = dict[str, int](), []
        for number, kind in enumerate(kinds):
            dims[kind] = cls.rows(model, number, "attn_q") // model.heads
            heads.append(cls.rows(model, number, "attn_k") // dims[kind])
        full, sliding = dims.get(FULL, model.head_dim), dims.get(SLIDING, model.head_dim)
        found: dict[str, Any] = {
            **super().entries(model),
            **cls.window_entries(model),
            "attention.head_count_kv": heads[0] if len({*heads}) == 1 else np.array(heads, np.int32),
            "attention.key_length": full,
            "attention.value_length": full,
            "attention.key_length_swa": sliding,
            "attention.value_length_swa": sliding,
            "attention.shared_kv_layers": int(config.get("num_kv_shared_layers") or 0),
            "embedding_length_per_layer_input": int(config.get("hidden_size_per_layer_input") or 0),
            "rope.dimension_count": full,
            "rope.dimension_count_swa": model.turning_of(SLIDING),
            "rope.freq_base_swa": model.base_of(SLIDING),
        }
        if config.get("final_logit_softcapping"):
            found["final_logit_softcapping"] = float(config["final_logit_softcapping"])
        stack = cls.shape_of(model, "ffn_down_exps.weight")
        if stack is not None:
            found |= {"expert_count": stack[0], "expert_used_count": model.picks}
            found["expert_feed_forward_length"] = stack[-1]
        return found

    @classmethod
    def rows(cls, model: OutgoingModel, layer: int, part: str) -> int:
        """Rows of a layer's matrix, or of that of the last layer of its kind before it that has one."""
        kinds = model.config["layer_types"]
        shapes = (
            model.shapes.get(f"model.layers.{at}.self_attn.{part[-1]}_proj.weight")
            for at in range(layer, -1, -1)
            if kinds[at] == kinds[layer]
        )
        return next(shape[0] for shape in shapes if shape is not None)

    @classmethod
    def inner_entry(cls, model: OutgoingModel) -> Any:
        """Of each layer where they differ."""
        sizes = [model.shapes[f"model.layers.{layer}.mlp.up_proj.weight"][0] for layer in range(model.layers)]
        return sizes[0] if len({*sizes}) == 1 else np.array(sizes, np.int32)

    @classmethod
    def contents(cls, model: OutgoingModel) -> dict[str, NDArray[np.float32]]:
        """The first angles of layers that see everything turn."""
        section = model.section()
        if section["rope_type"] != "proportional":
            return super().contents(model)
        angles = cls.rows(model, model.layers - 1, "attn_q") // model.heads // 2
        turning = int(angles * section.get("partial_rotary_factor", 1.0))
        return {ROPE_FACTORS: np.array([1.0] * turning + [1e30] * (angles - turning), np.float32)}


ARCHITECTURE = Gemma4

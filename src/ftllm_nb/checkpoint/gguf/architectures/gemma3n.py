"""Gemma 3n's text models."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np

from ftllm_nb.checkpoint.gguf.architecture import AROUND_BRANCHES, LAYER_EMBEDDINGS, NAMES, Architecture
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.checkpoint.gguf.way_out import FULL, SLIDING, OutgoingModel

_STACKS = {"altup_proj.weight": "altup_projections", "altup_unembd_proj.weight": "altup_unembed_projections"}


class Gemma3n(Architecture):
    """llama.cpp's `gemma3n`."""

    model_type = "gemma3n_text"
    writes = ("gemma3n_text",)
    keeps_floats = ("altup", "laurel", "per_layer_model_proj")
    writes_unread = True
    names: ClassVar = {
        **NAMES,
        **AROUND_BRANCHES,
        **LAYER_EMBEDDINGS,
        "blk.*.altup_correct_coef": "model.layers.*.altup.correction_coefs",
        "blk.*.altup_correct_scale.weight": "model.layers.*.altup.correct_output_scale",
        "blk.*.altup_predict_coef": "model.layers.*.altup.prediction_coefs",
        "blk.*.altup_router": "model.layers.*.altup.modality_router",
        "blk.*.altup_router_norm": "model.layers.*.altup.router_norm",
        "blk.*.laurel_l": "model.layers.*.laurel.linear_left",
        "blk.*.laurel_r": "model.layers.*.laurel.linear_right",
        "blk.*.laurel_post_norm": "model.layers.*.laurel.post_laurel_norm",
    }

    def config(self) -> dict[str, Any]:
        """Sizes that the metadata does not tell are those of tensors."""
        metadata, config = self.metadata, super().config()
        cuts = metadata.reals("activation_sparsity_scale", self.layers)
        return {
            **config,
            "final_logit_softcapping": metadata.real("final_logit_softcapping", 30.0),
            "hidden_size_per_layer_input": metadata.whole("embedding_length_per_layer_input"),
            "vocab_size_per_layer_input": self.rows_of("per_layer_token_embd.weight"),
            "altup_num_inputs": metadata.whole("altup.num_inputs"),
            "altup_active_idx": metadata.whole("altup.active_idx", least=0),
            "laurel_rank": self.rows_of("blk.0.laurel_l.weight"),
            "num_kv_shared_layers": metadata.whole("attention.shared_kv_layers", max(self.layers - 20, 0), least=0),
            "activation_sparsity_pattern": [round(NormalDist().cdf(cut), 7) for cut in cuts],
            "rope_parameters": {
                FULL: {"rope_theta": config.pop("rope_theta"), **(config.pop("rope_scaling", None) or {})},
                SLIDING: {"rope_theta": metadata.real("rope.freq_base_swa", 10000.0)},
            },
            **self.windows(5, metadata.whole("attention.sliding_window")),
        }

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """Projections of streams are stacked here."""
        if name not in _STACKS:
            return super().sources_of(name, target)
        *_, count, rows, columns = (1, *self.file.tensors[name].shape)
        return {
            f"model.{_STACKS[name]}.{number}.weight": Source(
                name, (rows, columns), slice(number * rows, (number + 1) * rows)
            )
            for number in range(count)
        }

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With streams, layers that share keys, and how few activations count."""
        config = model.config
        parts = config.get("activation_sparsity_pattern") or [0.0] * model.layers
        cuts = [NormalDist().inv_cdf(part) if part else -math.inf for part in parts]
        return {
            **super().entries(model),
            **cls.window_entries(model),
            "final_logit_softcapping": float(config.get("final_logit_softcapping") or 30.0),
            "embedding_length_per_layer_input": int(config.get("hidden_size_per_layer_input", 256)),
            "altup.num_inputs": int(config.get("altup_num_inputs", 4)),
            "altup.active_idx": int(config.get("altup_active_idx", 0)),
            "attention.shared_kv_layers": int(config.get("num_kv_shared_layers", 15)),
            "activation_sparsity_scale": np.array(cuts, np.float32),
            "rope.freq_base_swa": model.base_of(SLIDING),
        }

    @classmethod
    def file_shapes(cls, model: OutgoingModel) -> dict[str, tuple[int, ...]]:
        """Projections of streams are stacks there."""
        found: dict[str, tuple[int, ...]] = {}
        for name, shape in model.shapes.items():
            stack = next((stack for stack, own in _STACKS.items() if name.startswith(f"model.{own}.")), None)
            if stack is None:
                found[cls.file_name(name)] = shape
            else:
                found[stack] = (found.get(stack, (0,))[0] + 1, *shape)
        return found

    @classmethod
    def file_name(cls, name: str) -> str:
        """Projections of streams are in stacks."""
        stack = next((stack for stack, own in _STACKS.items() if name.startswith(f"model.{own}.")), None)
        return super().file_name(name) if stack is None else stack


ARCHITECTURE = Gemma3n

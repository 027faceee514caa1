"""Gemma 3n's text models."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import AROUND_BRANCHES, LAYER_EMBEDDINGS, NAMES, Architecture
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.checkpoint.gguf.way_out import FULL, SLIDING


class Gemma3n(Architecture):
    """llama.cpp's `gemma3n`."""

    model_type = "gemma3n_text"
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
        stacks = {"altup_proj.weight": "altup_projections", "altup_unembd_proj.weight": "altup_unembed_projections"}
        if name not in stacks:
            return super().sources_of(name, target)
        *_, count, rows, columns = (1, *self.file.tensors[name].shape)
        return {
            f"model.{stacks[name]}.{number}.weight": Source(
                name, (rows, columns), slice(number * rows, (number + 1) * rows)
            )
            for number in range(count)
        }


ARCHITECTURE = Gemma3n

"""Mixtures of experts."""

from __future__ import annotations

from typing import Any

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter

from tests.oracle.gguf_kinds.common import Array, Kind, Tensors


def expert_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_expert_count(config.get("num_experts") or config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    if config["model_type"] != "olmoe":
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])


def stacked_experts(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """All experts' matrices of a kind as one tensor, where the first of them is met."""
    layer, dot, rest = name.partition(".experts.")
    number, _, part = rest.partition(".")
    if not dot:
        yield name, values
    elif number == "0":
        count = config.get("num_experts") or config["num_local_experts"]
        each = [config["tensors"][f"{layer}.experts.{expert}.{part}"] for expert in range(count)]
        yield f"{layer}.experts.{part}", np.stack(each)


KINDS = {
    "qwen3_moe": Kind(MODEL_ARCH.QWEN3MOE, expert_settings, stacked_experts),
    "olmoe": Kind(MODEL_ARCH.OLMOE, expert_settings, stacked_experts),
}

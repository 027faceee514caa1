"""A config that leaves out what its architecture means anyway is written as one that says it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb import loading
from ftllm_nb.graph.build import build_graph
from ftllm_nb.models import graph_class
from ftllm_nb.quantization.gguf.model import outgoing, written_as
from ftllm_nb.quantization.gguf.relaid import relaid
from tests.engine.test_mamba_models import CONFIGS as MAMBA
from tests.engine.test_recurrent_models import CONFIGS
from tests.memory_checkpoint import MemoryCheckpoint

KINDS = ["linear_attention", "mlp", "full_attention", "moe", "linear_attention"]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "delta net": (CONFIGS["qwen3_5_text"], {
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
    }),
    "granite": (CONFIGS["granitemoehybrid"], {"mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4}),
    "falcon": (MAMBA["falcon_h1"], {"mamba_n_groups": 1, "mamba_d_state": 256}),
    "mamba": (MAMBA["mamba2"] | {"num_heads": 8, "head_dim": 15},
              {"n_groups": 8, "state_size": 128, "max_position_embeddings": 262144}),
    "pattern": (MAMBA["nemotron_h"] | {"hybrid_override_pattern": "M-*EM"},
                {"layers_block_type": KINDS, "num_hidden_layers": 5}),
    "pattern without experts": (MAMBA["nemotron_h"] | {"hybrid_override_pattern": "M-*"},
                                {"layers_block_type": KINDS[:3], "num_hidden_layers": 3}),
}  # fmt: skip


def in_a_file(config: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, tuple[int, ...]]]:
    """The name of the architecture, its entries, and the tensors' shapes."""
    shapes = build_graph(graph_class(config), dict(config)).weight_shapes()
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    stored = MemoryCheckpoint(dict(config), arrays)
    graph = loading.describe(stored)
    checkpoint = relaid(stored, graph, written_as(stored.path, graph)[1])
    made = outgoing(checkpoint, loading.describe(checkpoint))
    entries = {name: np.asarray(value).tolist() for name, value in made.architecture.entries(made.model).items()}
    return made.name, entries, made.architecture.file_shapes(made.model)


@pytest.mark.parametrize("case", CASES)
def test_what_is_left_out_is_written_as_what_it_means(case: str) -> None:
    config, meant = CASES[case]
    absent = {name: value for name, value in config.items() if name not in meant}
    found = in_a_file(absent)
    assert found == in_a_file(absent | meant)
    assert found[0] == {"pattern": "nemotron_h_moe", "pattern without experts": "nemotron_h"}.get(case, found[0])
    assert found[1]["context_length"] == (262144 if case == "mamba" else 2048)

"""config.json as transformers writes it with all its defaults: no architecture refuses an entry of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.unread_entries import refuse_unread
from ftllm_nb.models import graph_class, supported_architectures

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.oracle

NO_MODELS = {"deepseek_v2", "glm4_moe"}
"""Their defaults are no model: num_experts_per_tok is null, and an odd number of features would turn."""
KNOWN = sorted((set(supported_architectures()) & set(transformers.CONFIG_MAPPING.keys())) - NO_MODELS)


@pytest.mark.parametrize("model_type", KNOWN)
def test_nothing_is_refused(tmp_path: Path, model_type: str) -> None:
    transformers.AutoConfig.for_model(model_type).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    refuse_unread(build_graph(graph_class(config), config))

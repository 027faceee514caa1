"""The configurations of real models in bench/configs: each is computed, and has as many parameters as the model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.models import graph_class
from tests.graph.small_graphs import Header

CONFIGS = Path(__file__).parents[2] / "bench" / "configs"
PARAMETERS = {
    "deepseek-v2-lite": 15_706_484_224,
    "gemma-3-1b": 999_885_952,
    "gemma-4-e2b": 4_628_569_379,
    "gpt-oss-20b": 20_914_757_184,
    "granite-4-h-tiny": 6_939_037_248,
    "granite-4.1-3b": 3_402_836_480,
    "lfm2-1.2b": 1_170_340_608,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400,
    "olmo-3-7b": 7_298_011_136,
    "phi-4-mini": 3_836_021_760,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-4b": 4_022_468_096,
    "qwen3.5-0.8b": 752_393_024,
    "qwen3.5-4b": 4_205_751_296,
    "smollm3-3b": 3_075_098_624,
}
"""Those of the published models, tied embeddings once; of Gemma 4 and Qwen3.5 those of the text part as it is here."""


def test_each_is_here() -> None:
    assert {file.stem for file in CONFIGS.iterdir()} == PARAMETERS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name: str) -> None:
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    graph = build_graph(graph_class(config), config)
    shapes = graph.weight_shapes()
    assert sum(map(math.prod, shapes.values())) == PARAMETERS[name]
    checked = check_graph(graph, {each: Header(shape, "bfloat16") for each, shape in shapes.items()})
    assert all("long_factor is used" in note for note in checked.notes)

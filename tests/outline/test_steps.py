"""What is told of each operator: shapes, weights, work and state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftllm_nb import loading
from ftllm_nb.benchmark.workload import size_of
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.outline.steps import steps_of
from ftllm_nb.outline.totals import shown_count, total_lines, totals_of
from tests.graph.small_graphs import CONFIG
from tests.models.small_configs import EXPERTS, checked


def test_the_demo_adds_up_to_what_else_is_known_of_it() -> None:
    with open_checkpoint(loading.model_folder("demo")) as checkpoint:
        graph = loading.describe(checkpoint)
        steps = steps_of(graph, checkpoint.tensors)
        totals = totals_of(steps, graph, checkpoint.tensors)
        size = size_of(graph, WeightTypes())
        assert totals.parameters == size.parameters
        assert totals.weight_bytes == {"bfloat16": sum(info.nbytes for info in checkpoint.tensors.values())}
        assert totals.operations == sum(weight.operations for weight in size.linear_weights)
    query = next(step for step in steps if step.operator == "Linear")
    assert list(map(str, (*query.inputs, *query.outputs))) == ["x 256", "q 256"]
    assert [(weight.name, weight.shape, weight.nbytes) for weight in query.weights] == [
        ("model.layers.0.self_attn.q_proj.weight", "256×256", 2 * 256**2),
        ("model.layers.0.self_attn.q_proj.bias", "256", 512),
    ]
    assert query.operations == 2 * 256**2 and query.where.endswith(".py:" + query.where.rpartition(":")[2])
    attention = next(step for step in steps if step.state)
    assert attention.position_bytes == 2 * 2 * 2 * 64 and attention.attended == 2 * 4 * (64 + 64)
    assert [step.number for step in steps] == [0, *range(2, len(steps) + 1)], "DataTypeAs changes nothing"
    assert total_lines(totals)[0] == f"operators  {len(steps)} of {len(steps) + 1} calls, whose numbers they have"
    assert total_lines(replace(totals, calls=len(steps)))[0] == f"operators  {len(steps)}"


def test_of_a_mixture_only_the_chosen_experts_count() -> None:
    graph = checked(CONFIG | {"model_type": "qwen3_moe"} | EXPERTS)
    steps = steps_of(graph, {})
    mixture = next(step for step in steps if step.operator == "MergeMOE")
    assert [weight.count for weight in mixture.weights] == [3, 3, 3]
    assert mixture.operations == 2 * 3 * (20 * CONFIG["hidden_size"]) * 2


@pytest.mark.parametrize("number, shown", [(0, "0"), (999, "999"), (1500, "1.5 k"), (2.34e9, "2.34 G")])
def test_counts(number: float, shown: str) -> None:
    assert shown_count(number) == shown

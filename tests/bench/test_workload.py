"""Bytes and operations, counted from a checked graph and compared with the limits."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.benchmark.limits import MachineLimits
from ftllm_nb.benchmark.speed_test import SpeedTest
from ftllm_nb.benchmark.workload import (
    AttentionWork,
    LinearWeight,
    ModelSize,
    Work,
    compare_with_limits,
    size_of,
    work_of,
)
from ftllm_nb.checkpoint import RandomCheckpoint
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.models import graph_class
from ftllm_nb.ops.reach import Reach
from ftllm_nb.outline.steps import steps_of
from ftllm_nb.outline.totals import totals_of

CONFIG: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "vocab_size": 131,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
LAYER_MATRICES = [(64, 64), (32, 64), (32, 64), (64, 64), (96, 64), (96, 64), (64, 96)]
HEAD = LinearWeight(131, 64, packed_bytes=144 * 64 * 2, for_logits=True)
LIMITS = MachineLimits(2, 10**9, read_gb_per_s=20.0, fma_gflop_per_s=200.0, dot_gop_per_s=None)


def size(dtype: str, **changes: Any):  # type: ignore[no-untyped-def]
    graph = build_graph(graph_class(CONFIG), {**CONFIG, **changes})
    checkpoint = RandomCheckpoint(graph.config, graph.weight_shapes())
    return size_of(check_graph(graph, checkpoint.tensors), WeightTypes(dtype))


def test_every_matrix_is_counted_with_its_packed_bytes() -> None:
    found = size("bfloat16").linear_weights
    assert [(each.out_features, each.in_features) for each in found[:-1]] == LAYER_MATRICES * 3
    assert all(each.packed_bytes == 2 * each.out_features * each.in_features for each in found[:-1])
    assert not any(each.for_logits for each in found[:-1])
    assert found[-1] == HEAD, "rows are padded to blocks of 16"


def test_the_size_holds_tied_embeddings_once() -> None:
    vectors = 3 * (64 + 32 + 32 + 64 + 64) + 64
    matrices = 3 * sum(rows * columns for rows, columns in LAYER_MATRICES)
    tied, untied = size("float32", tie_word_embeddings=True), size("float32")
    assert tied.parameters == vectors + matrices + 131 * 64
    assert untied.parameters == tied.parameters + 131 * 64
    assert tied.weight_bytes == 4 * (vectors + matrices + 144 * 64)
    assert untied.weight_bytes == tied.weight_bytes + 4 * 144 * 64
    assert tied.linear_weights == untied.linear_weights
    assert tied.layer_bits_a_weight == untied.layer_bits_a_weight == 32
    assert tied.embedding_bytes == 4 * 144 * 64 and untied.embedding_parameters == 2 * 131 * 64


@pytest.mark.parametrize(
    "is_decode, tokens, passes, logit_rows",
    [(False, 512, 4, 1), (False, 513, 5, 1), (False, 1, 1, 1), (True, 64, 64, 64)],
)
def test_work_counts_weights_once_a_step_and_products_once_a_token(
    is_decode: bool, tokens: int, passes: int, logit_rows: int
) -> None:
    layer = LinearWeight(10, 20, packed_bytes=640, for_logits=False)
    head = LinearWeight(30, 20, packed_bytes=1280, for_logits=True)
    size = ModelSize(1, 1, "bfloat16", (layer, layer, head))
    work = work_of(SpeedTest(is_decode, tokens), size, max_step_tokens=128)
    assert work.weight_bytes == passes * 2 * 640 + logit_rows * 1280
    assert work.operations == tokens * 2 * 400 + logit_rows * 1200


def test_the_share_is_that_of_the_nearer_limit() -> None:
    test = SpeedTest(is_decode=True, tokens=10, seconds=[2.0])
    read = compare_with_limits(test, Work(weight_bytes=30 * 10**9, operations=40 * 10**9), LIMITS, False)
    assert (read.gb_per_s, read.gop_per_s) == (15.0, 20.0)
    assert (read.share_of_limit, read.limit) == (0.75, "read")
    fma = compare_with_limits(test, Work(weight_bytes=2 * 10**9, operations=200 * 10**9), LIMITS, False)
    assert (fma.share_of_limit, fma.limit) == (0.5, "fma")


def test_integer_products_are_compared_with_the_dot_product_peak() -> None:
    prompt, decode = SpeedTest(False, 10, seconds=[1.0]), SpeedTest(True, 10, seconds=[1.0])
    work = Work(weight_bytes=10**9, operations=100 * 10**9)
    with_dot = MachineLimits(2, 10**9, 20.0, 200.0, 1000.0)
    assert compare_with_limits(prompt, work, with_dot, uses_dot=True).limit == "dot"
    without = compare_with_limits(prompt, work, LIMITS, uses_dot=True)
    assert (without.share_of_limit, without.limit) == (None, "")
    assert compare_with_limits(decode, work, LIMITS, uses_dot=True).share_of_limit == 0.05


def test_attention_is_counted_for_what_each_token_sees() -> None:
    graph = size("float32", use_sliding_window=True, sliding_window=8, max_window_layers=1)
    assert graph.attentions == (AttentionWork(128, Reach()), *[AttentionWork(128, Reach(window=8))] * 2)
    prompt = work_of(SpeedTest(False, 20), graph, max_step_tokens=128)
    windowed = sum(min(seen, 8) for seen in range(1, 21))
    assert prompt.float_operations == 2 * 128 * (20 * 21 // 2 + 2 * windowed)
    decode = work_of(SpeedTest(True, 2, batch=3, depth=100), graph, max_step_tokens=128)
    assert decode.float_operations == 3 * 2 * 128 * ((117 + 118) + 2 * 2 * 8)


@pytest.mark.parametrize(
    ("changes", "operations"),
    [
        ({"model_type": "qwen3_5_text", "linear_num_key_heads": 2, "linear_num_value_heads": 4,
          "linear_key_head_dim": 8, "linear_value_head_dim": 10}, 7 * 4 * 8 * 10),
        ({"model_type": "granitemoehybrid", "mamba_n_heads": 4, "mamba_n_groups": 2, "mamba_d_state": 6,
          "num_local_experts": 0, "attention_multiplier": 0.3, "shared_intermediate_size": 12}, 5 * 6 * 128),
    ],
    ids=["delta rule", "scan"],
)  # fmt: skip
def test_recurrences_are_counted_for_each_token(changes: dict[str, Any], operations: int) -> None:
    recurrent = "linear_attention" if changes["model_type"] == "qwen3_5_text" else "mamba"
    kinds = [recurrent, "full_attention" if recurrent == "linear_attention" else "attention", recurrent]
    config = CONFIG | {"head_dim": 16, "layer_types": kinds} | changes
    graph = build_graph(graph_class(config), config)
    checkpoint = RandomCheckpoint(graph.config, graph.weight_shapes())
    checked = check_graph(graph, checkpoint.tensors)
    found = size_of(checked, WeightTypes("float32"))
    assert found.recurrent == 2 * operations
    (attention,) = found.attentions
    prompt = work_of(SpeedTest(False, 20), found, max_step_tokens=128)
    assert prompt.float_operations == attention.operations(0, 20) + 20 * 2 * operations
    decode = work_of(SpeedTest(True, 2, batch=3, depth=100), found, max_step_tokens=128)
    assert decode.float_operations == 3 * attention.operations(116, 2) + 3 * 2 * 2 * operations
    totals = totals_of(steps_of(checked, {}), checked, {})
    assert totals.operations == sum(weight.operations for weight in found.linear_weights) + found.recurrent


def test_attention_takes_its_time_at_the_peak_of_floats_beside_integer_products() -> None:
    prompt = SpeedTest(False, 10, seconds=[1.0])
    work = Work(weight_bytes=10**9, operations=100 * 10**9, float_operations=60 * 10**9)
    reached = compare_with_limits(prompt, work, MachineLimits(2, 10**9, 20.0, 200.0, 1000.0), uses_dot=True)
    assert reached.share_of_limit == pytest.approx(0.1 + 0.3) and reached.limit == "dot"
    assert reached.gop_per_s == pytest.approx(160)


@pytest.mark.parametrize(("dtype", "integers"), [("int4g32", True), ("Q4_K", True), ("bfloat16", False)])
def test_what_products_multiply(dtype: str, integers: bool) -> None:
    assert ModelSize(1, 1, dtype, ()).multiplies_integers is integers

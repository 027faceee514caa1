"""SelectExpert and MergeMOE: references against loops over tokens, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.ordered_merge_moe import OrderedMergeMOE
from tests.ops.operator_runs import OPERATORS, STEP, normal

NUMBERS: dict[str, Any] = {
    "topk": 2, "needNorm": 0, "routeScale": 1.0, "gateBias": None, "expertScale": None, "groups": 1, "topGroups": 1,
    "groupTop": 1, "epsilon": 0.0, "least": 0.0, "jitter": 0.01,
}  # fmt: skip


def chosen(scores: list[float], numbers: dict[str, Any]) -> list[tuple[int, float]]:
    """The experts of one token and their weights, as one would write it down."""
    experts = range(len(scores))
    bias = numbers["gateBias"] if numbers["gateBias"] is not None else [0.0] * len(scores)
    size = len(scores) // numbers["groups"]
    by = [np.float32(np.float32(scores[e]) + np.float32(bias[e])) for e in experts]
    worth = [
        sum(sorted(by[g * size : (g + 1) * size])[-numbers["groupTop"] :]) for g in range(numbers["groups"])
    ]
    kept = sorted(range(numbers["groups"]), key=lambda g: (-worth[g], g))[: numbers["topGroups"]]
    able = [e for e in experts if e // size in kept]
    picked = sorted(able, key=lambda e: (-by[e], e))[: numbers["topk"]]
    weights = [scores[e] for e in picked]
    if numbers["needNorm"] == 1:
        total = max(sum(weights) + numbers["epsilon"], numbers["least"])
        weights = [weight / total for weight in weights]
    elif numbers["needNorm"] == 2:
        powers = [math.exp(weight) for weight in weights]
        weights = [power / sum(powers) for power in powers]
    elif numbers["needNorm"] == 3:
        weights, left = [], list(experts)
        for expert in picked:
            best = scores[expert]
            near = [s for s in (scores[e] for e in left) if (best - s) / max(abs(s), best) <= 2 * numbers["jitter"]]
            weights.append(1 / sum(math.exp(s - best) for s in near))
            left.remove(expert)
    factors = numbers["expertScale"] if numbers["expertScale"] is not None else [1.0] * len(scores)
    return [(e, weight * numbers["routeScale"] * factors[e]) for e, weight in zip(picked, weights, strict=True)]


@pytest.mark.parametrize("changes", [
    {}, {"topk": 6, "needNorm": 1}, {"needNorm": 2, "topk": 3, "routeScale": 2.5},
    {"gateBias": normal(1, 6), "needNorm": 1, "epsilon": 0.5}, {"needNorm": 1, "least": 100.0},
    {"groups": 3, "topGroups": 1, "groupTop": 2}, {"groups": 3, "topGroups": 2, "gateBias": normal(2, 6), "topk": 4},
    {"expertScale": normal(3, 6), "routeScale": 0.5},
    {"needNorm": 3, "jitter": 0.2}, {"needNorm": 3, "topk": 3, "jitter": 5.0, "expertScale": normal(3, 6)},
])  # fmt: skip
def test_select_expert(changes: dict[str, Any]) -> None:
    numbers, logits = NUMBERS | changes, 0.1 + np.abs(normal(7, 1, 9, 6))
    logits[0, 3] = logits[0, 3, 0]  # of equal ones the lower number
    index, score = OPERATORS["SelectExpert"].compute(STEP, {"logits": logits, **numbers}).values()
    for token in range(9):
        expected = chosen(logits[0, token].tolist(), numbers)
        assert index[0, token].tolist() == [expert for expert, _ in expected]
        np.testing.assert_allclose(score[0, token], [weight for _, weight in expected], rtol=1e-5)


def mixture(**changes: Any) -> dict[str, Any]:
    """Arguments of MergeMOE: four experts, of which each token has two."""
    return {
        "input": normal(1, 1, 5, 8), "index": np.array([[[0, 1], [3, 1], [2, 2], [9, -4], [1, 0]]], np.float32),
        "score": normal(2, 1, 5, 2), "gate0": normal(3, 4, 12, 8), "down0": normal(4, 4, 8, 6), "gateType": 0,
        "limit": 0.5, "alpha": 1.702, **changes,
    }  # fmt: skip


def test_merge_moe() -> None:
    given = mixture()
    (got,) = OPERATORS["MergeMOE"].compute(STEP, given).values()
    for token in range(5):
        expected = np.zeros(8)
        for pick in range(2):
            expert = int(min(max(given["index"][0, token, pick], 0), 3))
            inner = given["gate0"][expert].astype(float) @ given["input"][0, token]
            gated = [x / (1 + math.exp(-x)) * y for x, y in zip(inner[:6], inner[6:], strict=True)]
            expected += given["score"][0, token, pick] * (given["down0"][expert] @ np.array(gated))
        np.testing.assert_allclose(got[0, token], expected, rtol=1e-4, atol=1e-5)


def test_a_list_is_a_stack() -> None:
    given = mixture()
    stack, down = given.pop("gate0"), given.pop("down0")
    lists = {f"gate{e}": stack[e, :6] for e in range(4)} | {f"up{e}": stack[e, 6:] for e in range(4)}
    lists |= {f"down{e}": down[e] for e in range(4)}
    (listed,) = OPERATORS["MergeMOE"].compute(STEP, given | lists).values()
    (stacked,) = OPERATORS["MergeMOE"].compute(STEP, mixture()).values()
    np.testing.assert_allclose(listed, stacked, rtol=1e-5, atol=1e-6)


def test_columns_in_other_orders_are_the_same_mixture() -> None:
    given = mixture()
    stack, down = given.pop("gate0"), given.pop("down0")
    lists = {f"gate{e}": stack[e, :6] for e in range(4)} | {f"up{e}": stack[e, 6:] for e in range(4)}
    lists |= {f"down{e}": down[e] for e in range(4)}
    orders = {name: np.roll(np.arange(lists[name].shape[1]), 2)[::-1] for name in ("gate1", "up0", "down1", "down3")}
    ordered = {name: matrix[:, orders[name]] if name in orders else matrix for name, matrix in lists.items()}
    (expected,) = OPERATORS["MergeMOE"].compute(STEP, given | lists).values()
    (got,) = OrderedMergeMOE.compute(STEP, given | ordered | {"orders": orders}).values()
    np.testing.assert_array_equal(got, expected)


def refused(name: str, arguments: dict[str, Any]) -> str:
    types = {
        key: TensorType(value.shape, "float32") if isinstance(value, np.ndarray) else value
        for key, value in arguments.items()
    }
    with pytest.raises(ShapeError) as caught:
        OPERATORS[name].infer_outputs(types)
    return str(caught.value)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"topk": 7}, "topk must be 1 to 6"),
    ({"topk": 0}, "topk must be 1 to 6"),
    ({"groups": 4}, "groups must divide 6 experts"),
    ({"groups": 3, "topGroups": 4}, "topGroups must be 1 to 3"),
    ({"groups": 3, "topGroups": 1, "groupTop": 3}, "groupTop 1 to 2"),
    ({"groups": 3, "topGroups": 1, "topk": 3}, "topk must be 1 to 2"),
    ({"needNorm": 4}, "needNorm must be 0, 1, 2 or 3"),
    ({"needNorm": 3, "gateBias": normal(1, 6)}, "with needNorm 3 there are neither a gateBias nor groups"),
    ({"needNorm": 3, "groups": 2, "topGroups": 2}, "with needNorm 3 there are neither a gateBias nor groups"),
    ({"gateBias": normal(1, 5)}, r"gateBias must have shape [6]"),
])  # fmt: skip
def test_select_expert_refuses(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in refused("SelectExpert", {"logits": normal(1, 1, 2, 6), **NUMBERS, **changes})


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"index": normal(1, 1, 5, 3)}, "index and score must be [1, tokens, picks]"),
    ({"index": normal(1, 1, 5, 5), "score": normal(1, 1, 5, 5)}, "index names 5 experts for a token, but there are 4"),
    ({"gate0": normal(1, 12, 8)}, "of 1 experts, gate must take 8 features"),
    ({"gate0": normal(1, 4, 11, 8)}, "an even number of rows, but it has 11"),
    ({"gate0": normal(1, 4, 12, 7)}, "gate must take 8 features"),
    ({"down0": normal(1, 3, 8, 6)}, "of 3 experts"),
    ({"down0": normal(1, 8, 6), "down1": normal(1, 8, 5)}, "number 1 is [8, 5], and number 0 [8, 6]"),
    ({"gateType": 7}, "gateType must be 0 to 6"),
    ({"gateType": 2, "up0": normal(1, 4, 12, 8)}, "up must be None with gateType 2"),
    ({"downBias0": normal(1, 8)}, "downBias must have a vector for each of 4 experts, but it has 1"),
    ({"limit": 0.0}, "limit must be above 0"),
])  # fmt: skip
def test_merge_moe_refuses(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in refused("MergeMOE", mixture() | changes)

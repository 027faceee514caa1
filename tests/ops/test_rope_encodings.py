"""Rotations by tables of the operator's own numbers: against complex powers in double precision, and against the tables
that a config makes."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ftllm_nb.graph.rope import rope_settings
from ftllm_nb.graph.types import ShapeError, TensorType
from tests.ops.operator_runs import OPERATORS, compute, normal

POSITIONS = np.int32([[0, 1, 7, 900]])
DIM, HEAD = 8, 11


def llama3(frequency: float, factor: float, original: float, low: float, high: float) -> float:
    turns = original * frequency / (2 * math.pi)
    if turns < low:
        return frequency / factor
    if turns > high:
        return frequency
    smooth = (turns - low) / (high - low)
    return frequency * ((1 - smooth) / factor + smooth)


def yarn(frequency: float, pair: int, factor: float, low: float, high: float) -> float:
    ramp = min(max((pair - low) / (high - low), 0), 1)
    return frequency * (ramp / factor + 1 - ramp)


Frequency = Callable[[int], float]
CASES: list[tuple[str, dict[str, Any], Frequency, float]] = [
    ("RopeEncoding", {"ropeTheta": 500.0, "ropeScale": 4.0}, lambda j: 500.0 ** (-2 * j / DIM) / 4, 1.0),
    (
        "Llama3RopeEncoding",
        {"ropeTheta": 1e4, "factor": 8.0, "originalMaxPosition": 512, "lowFreqFactor": 1.0, "highFreqFactor": 4.0},
        lambda j: llama3(1e4 ** (-2 * j / DIM), 8, 512, 1, 4), 1.0,
    ),
    (
        "YarnRopeEncoding",
        {"ropeTheta": 1e4, "factor": 4.0, "attentionFactor": 1.25, "correctionLow": 0.5, "correctionHigh": 2.5},
        lambda j: yarn(1e4 ** (-2 * j / DIM), j, 4, 0.5, 2.5), 1.25,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "numbers", "frequency", "scale"), CASES, ids=[case[0] for case in CASES])
def test_pairs_turn_by_their_frequencies(
    name: str, numbers: dict[str, Any], frequency: Frequency, scale: float
) -> None:
    x = normal(1, 1, 4, 2, HEAD)
    got = compute(name, input=x, positionIds=POSITIONS, rotaryDim=DIM, **numbers)
    np.testing.assert_array_equal(got[..., DIM:], x[..., DIM:])
    for token, position in enumerate(POSITIONS[0].tolist()):
        for head in range(2):
            for j in range(DIM // 2):
                before = complex(x[0, token, head, j], x[0, token, head, j + DIM // 2])
                after = before * cmath.rect(scale, position * frequency(j))
                found = complex(got[0, token, head, j], got[0, token, head, j + DIM // 2])
                assert abs(found - after) < 3e-4 * abs(before)  # an angle of 900 is a float32, too


@pytest.mark.parametrize("name", ["RopeEncoding", "Llama3RopeEncoding"])
def test_the_tables_are_those_of_a_config(name: str) -> None:
    """The same bits as a graph that reads sin and cos."""
    section: dict[str, Any] = {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}
    numbers = CASES[0][1]
    if name.startswith("Llama3"):
        section = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 512}  # fmt: skip
        numbers = CASES[1][1]
    sin, cos = rope_settings({"head_dim": DIM, "max_positions": 1000, "rope_parameters": section}, 1000).tables(1000)
    x = normal(1, 1, 4, 2, DIM)
    by_tables = compute("LlamaRotatePosition2D", input=x, positionIds=POSITIONS, sin=sin, cos=cos, rotaryDim=DIM)
    np.testing.assert_array_equal(
        compute(name, input=x, positionIds=POSITIONS, rotaryDim=DIM, **numbers), by_tables
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rotaryDim": 12}, "must be an even number of them, but it is 12"),
        ({"rotaryDim": 5}, "must be an even number of them, but it is 5"),
        ({"ropeTheta": 0.0}, "ropeTheta must be above 0, but it is 0"),
        ({"ropeScale": -1.0}, "ropeScale must be above 0, but it is -1"),
        ({"positionIds": TensorType((1, 3), "int32")}, "positionIds must be data"),
    ],
)
def test_refused(changes: dict[str, Any], expected: str) -> None:
    given = {"input": TensorType((1, 4, 2, HEAD)), "positionIds": TensorType((1, 4), "int32")}
    numbers = {"rotaryDim": DIM, "ropeTheta": 1e4, "ropeScale": 1.0}
    with pytest.raises(ShapeError, match=expected):
        OPERATORS["RopeEncoding"].infer(**{**given, **numbers, **changes})


def test_llama3_s_bounds_must_be_in_order() -> None:
    with pytest.raises(ShapeError, match="highFreqFactor must be larger than lowFreqFactor, but they are 1 and 4"):
        OPERATORS["Llama3RopeEncoding"].infer(
            TensorType((1, 4, 2, HEAD)), TensorType((1, 4), "int32"), DIM, 1e4, 8.0, 512, 4.0, 1.0
        )

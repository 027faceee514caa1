"""Rotary tables against formulas written another way; compared with transformers in tests/oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.rope import RopeTables, rope_settings

CONFIG = {"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def frequency(j: int, dim: int = 16, base: float = 10000.0) -> float:
    return base ** (-2 * j / dim)


def assert_angles(config: dict[str, Any], angles: list[list[float]]) -> None:
    """The tables hold sin and cos of these angles, [positions, angles]."""
    sin, cos = rope_settings(config).tables(len(angles))
    assert sin.dtype == cos.dtype == np.float32
    assert sin.shape == cos.shape == (len(angles), len(angles[0]))
    np.testing.assert_allclose(sin, np.sin(angles), atol=2e-5)
    np.testing.assert_allclose(cos, np.cos(angles), atol=2e-5)


def test_default() -> None:
    assert_angles(CONFIG, [[p * frequency(j) for j in range(8)] for p in range(100)])


@pytest.mark.parametrize(
    "entries",
    [
        {"rope_theta": 5e5},
        {"rope_base": 5e5, "rope_theta": 3},
        {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
        {"rope_theta": 5e5, "rope_scaling": None},
    ],
)
def test_base(entries: dict[str, Any]) -> None:
    assert rope_settings(CONFIG | entries).base == 5e5


@pytest.mark.parametrize(
    "entries",
    [
        {"rope_scaling": {"type": "linear", "factor": 4}},
        {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {"rope_scaling": {"type": "linear"}, "rope_factor": 4},
        {"rope_factor": 4},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    ],
)
def test_linear(entries: dict[str, Any]) -> None:
    assert_angles(CONFIG | entries, [[p / 4 * frequency(j) for j in range(8)] for p in range(100)])


def test_dynamic_depends_on_the_position_alone() -> None:
    config = CONFIG | {"rope_scaling": {"type": "dynamic", "factor": 2.0}}
    angles = []
    for p in range(100):
        length = max(p + 1, 32)
        base = 10000.0 * (2.0 * length / 32 - 1) ** (16 / 14)
        angles.append([p * frequency(j, base=base) for j in range(8)])
    assert_angles(config, angles)
    whole, part = rope_settings(config).tables(5000)[0], rope_settings(config).tables(40)[0]
    np.testing.assert_array_equal(whole[:40], part)


def test_llama3() -> None:
    angles = []
    for p in range(100):
        row = []
        for j in range(8):
            wavelength = 2 * math.pi / frequency(j)
            if wavelength < 16 / 4:
                scaled = frequency(j)
            elif wavelength > 16 / 1:
                scaled = frequency(j) / 8
            else:
                smooth = (16 / wavelength - 1) / (4 - 1)
                scaled = (1 - smooth) * frequency(j) / 8 + smooth * frequency(j)
            row.append(p * scaled)
        angles.append(row)
    assert_angles(CONFIG | {"rope_scaling": LLAMA3}, angles)


def test_tables_do_not_depend_on_how_many_positions_are_asked_for() -> None:
    settings = rope_settings(CONFIG)
    np.testing.assert_array_equal(settings.tables(9000)[1][:4100], settings.tables(4100)[1])


def test_rows_are_made_as_far_as_they_are_needed() -> None:
    """Of a context of a hundred million positions, too: what nobody needs takes no memory."""
    settings = rope_settings(CONFIG)
    tables = RopeTables(settings, 10**8)
    for positions in (1, 40, 5000, 9000, 100):
        tables.fill(positions)
        sin, cos = settings.tables(positions)
        np.testing.assert_array_equal(tables.sin[:positions], sin)
        np.testing.assert_array_equal(tables.cos[:positions], cos)
    small = RopeTables(settings, 50)
    small.fill(50)
    np.testing.assert_array_equal(small.cos, settings.tables(50)[1])


@pytest.mark.parametrize(
    ("entries", "dim"),
    [
        ({}, 16),
        ({"head_dim": 24}, 24),
        ({"head_dim": None}, 16),
        ({"partial_rotary_factor": 0.5}, 8),
        ({"rope_parameters": {"partial_rotary_factor": 0.25, "rope_type": "default"}}, 4),
    ],
)
def test_dim(entries: dict[str, Any], dim: int) -> None:
    assert rope_settings(CONFIG | entries).dim == dim


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 4}},
            'config.json has rope_type "yarn"; supported are "default", "linear", "dynamic" and "llama3".',
        ),
        ({"rope_scaling": {"type": "linear"}}, 'factor must be a positive number for rope_type "linear"'),
        ({"rope_scaling": {"type": "linear", "factor": "4"}}, "but it is '4'"),
        ({"rope_scaling": "linear"}, "rope_scaling must be an object or null, but it is 'linear'"),
        ({"rope_scaling": {**LLAMA3, "low_freq_factor": 0}}, "low_freq_factor must be a positive number"),
        ({"rope_theta": -1}, "rope_theta must be a positive number, but it is -1"),
        ({"rope_theta": math.inf}, "rope_theta must be a positive number, but it is inf"),
        ({"rope_theta": 10**400}, "rope_theta must be a number from 1e-20 to 1e+20, but it is 1000000000"),
        ({"rope_theta": 1e-300}, "rope_theta must be a number from 1e-20 to 1e+20, but it is 1e-300"),
        (
            {"rope_scaling": {**LLAMA3, "low_freq_factor": 4.0, "high_freq_factor": 4.0}},
            "high_freq_factor must be larger than its low_freq_factor, but they are 4 and 4",
        ),
        ({"head_dim": 1}, "rotates 1 numbers of each head"),
        ({"hidden_size": None}, 'assign config["head_dim"] in build()'),
        ({"num_attention_heads": 0}, "num_attention_heads must be a positive number, but it is 0"),
    ],
)
def test_wrong(entries: dict[str, Any], expected: str) -> None:
    with pytest.raises(GraphError) as raised:
        rope_settings(CONFIG | entries)
    assert expected in str(raised.value)

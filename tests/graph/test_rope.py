"""Rotary tables against formulas written another way; compared with transformers in tests/oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.rope import RopeTables, named_rope_settings, rope_settings

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


def assert_angles(config: dict[str, Any], angles: list[list[float]], factor: float = 1.0) -> None:
    """The tables hold sin and cos of these angles, [positions, angles], times the attention factor."""
    settings = rope_settings(config, len(angles))
    sin, cos = settings.tables(len(angles))
    assert sin.dtype == cos.dtype == np.float32
    assert sin.shape == cos.shape == (len(angles), len(angles[0]))
    assert settings.type.attention_factor == pytest.approx(factor, rel=1e-12)
    np.testing.assert_allclose(sin, np.sin(angles) * factor, atol=4e-5)
    np.testing.assert_allclose(cos, np.cos(angles) * factor, atol=4e-5)


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
    assert rope_settings(CONFIG | entries, 64).base == 5e5


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
    whole, part = (rope_settings(config, 5000).tables(positions)[0] for positions in (5000, 40))
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


YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16}


def yarn_frequencies(
    factor: float = 8.0, original: int = 16, fast: float = 32, slow: float = 1, base: float = 1e4, truncate: bool = True
) -> list[float]:
    """As in the authors' code: a ramp along the angles, between those that turn `fast` and `slow` times."""
    first, last = (16 / 2 * math.log(original / 2 / math.pi / turns, base) for turns in (fast, slow))
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 15)
    found = []
    for j in range(8):
        divided_part = min(max((j - first) / ((last - first) or 0.001), 0), 1)
        found.append(frequency(j, base=base) * ((1 - divided_part) + divided_part / factor))
    return found


@pytest.mark.parametrize(
    ("entries", "expected", "factor"),
    [
        ({"rope_scaling": YARN}, yarn_frequencies(), 0.1 * math.log(8) + 1),
        ({"rope_scaling": {"type": "yarn", "factor": 8, "original_max_position_embeddings": 16}}, yarn_frequencies(),
         0.1 * math.log(8) + 1),
        ({"rope_parameters": {**YARN, "rope_theta": 500.0}}, yarn_frequencies(base=500), 0.1 * math.log(8) + 1),
        ({"rope_scaling": {**YARN, "truncate": False, "original_max_position_embeddings": 4096}},
         yarn_frequencies(original=4096, truncate=False), 0.1 * math.log(8) + 1),
        ({"rope_scaling": {**YARN, "original_max_position_embeddings": 4096}}, yarn_frequencies(original=4096),
         0.1 * math.log(8) + 1),
        ({"rope_scaling": {**YARN, "beta_fast": 4, "beta_slow": 2}}, yarn_frequencies(fast=4, slow=2),
         0.1 * math.log(8) + 1),
        ({"rope_scaling": {**YARN, "beta_fast": None, "beta_slow": 0}}, yarn_frequencies(), 0.1 * math.log(8) + 1),
        ({"rope_scaling": {**YARN, "attention_factor": 1.5, "mscale": 2.0, "mscale_all_dim": 1.0}}, yarn_frequencies(),
         1.5),
        ({"rope_scaling": {**YARN, "mscale": 2.0, "mscale_all_dim": 0.5}}, yarn_frequencies(),
         (0.2 * math.log(8) + 1) / (0.05 * math.log(8) + 1)),
        ({"rope_scaling": {**YARN, "mscale": 2.0, "mscale_all_dim": 0}}, yarn_frequencies(), 0.1 * math.log(8) + 1),
        # No factor: the context is stretched as far as the config says. No original: that is the config's.
        ({"rope_scaling": {**YARN, "factor": None}, "max_position_embeddings": 128}, yarn_frequencies(),
         0.1 * math.log(8) + 1),
        ({"rope_scaling": {"type": "yarn", "factor": 8}}, yarn_frequencies(original=32), 0.1 * math.log(8) + 1),
        ({"rope_scaling": {**YARN, "original_max_position_embeddings": 9}, "original_max_position_embeddings": 16},
         yarn_frequencies(), 0.1 * math.log(8) + 1),
        ({"rope_scaling": {**YARN, "factor": 0.5}}, yarn_frequencies(factor=0.5), 1.0),
    ],
)  # fmt: skip
def test_yarn(entries: dict[str, Any], expected: list[float], factor: float) -> None:
    assert_angles(CONFIG | entries, [[p * each for each in expected] for p in range(100)], factor)


SHORT, LONG = [1.0 + j / 10 for j in range(8)], [1.0 + j for j in range(8)]
LONGROPE = {"type": "longrope", "short_factor": SHORT, "long_factor": LONG, "original_max_position_embeddings": 16}


@pytest.mark.parametrize("name", ["longrope", "su"])
@pytest.mark.parametrize(("positions", "divisors"), [(16, SHORT), (17, LONG), (100, LONG)])
def test_longrope(name: str, positions: int, divisors: list[float]) -> None:
    """The list is chosen once, by the longest sequence."""
    config = CONFIG | {"rope_scaling": {**LONGROPE, "type": name}}
    angles = [[p * frequency(j) / divisors[j] for j in range(8)] for p in range(positions)]
    assert_angles(config, angles, math.sqrt(1 + math.log(2) / math.log(16)))
    (note,) = rope_settings(config, positions).notes or ("",)
    assert ("long_factor is used" in note) == (divisors is LONG)


@pytest.mark.parametrize(
    ("entries", "factor"),
    [
        ({"factor": 4}, math.sqrt(1 + math.log(4) / math.log(16))),
        ({"factor": 1.0}, 1.0),
        ({"attention_factor": 1.25, "factor": 4}, 1.25),
    ],
)
def test_attention_factor_of_longrope(entries: dict[str, Any], factor: float) -> None:
    settings = rope_settings(CONFIG | {"rope_scaling": {**LONGROPE, **entries}}, 16)
    assert settings.type.attention_factor == pytest.approx(factor)
    assert settings.tables(1)[1][0, 0] == np.float32(factor)


def test_proportional() -> None:
    """The angles that turn are those of the whole head, and the first ones."""
    parameters = {"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 0.25}
    angles = [[p * (frequency(j) if j < 2 else 0) for j in range(8)] for p in range(100)]
    assert_angles(CONFIG | {"rope_parameters": parameters}, angles)
    halved = [[angle / 2 for angle in row] for row in angles]
    assert_angles(CONFIG | {"rope_parameters": {**parameters, "factor": 2.0}}, halved)


def test_entries_that_a_type_does_not_use_are_told() -> None:
    notes = rope_settings(CONFIG | {"rope_scaling": {**YARN, "finetuned": True, "alpha": 3}}, 64).notes
    assert notes == ('config.json\'s rope_scaling has entries that rope_type "yarn" does not use: alpha, finetuned.',)
    for section in (YARN, {**LLAMA3, "rope_theta": 1e4, "type": "llama3"}, {"type": "linear", "factor": 2}):
        assert rope_settings(CONFIG | {"rope_scaling": section}, 64).notes == ()


def test_tables_by_kind_of_layer() -> None:
    """Each kind's own, which a model can use where they are alike; kinds of no layer do not count."""
    kinds = {"full_attention": {**YARN, "rope_theta": 1e6}, "sliding_attention": {"rope_type": "default"}}
    config = CONFIG | {"rope_parameters": kinds, "rope_theta": 500.0, "num_hidden_layers": 2}
    tables = named_rope_settings(config, 64)
    assert list(tables) == ["full_attention", "sliding_attention"]
    assert [table.base for table in tables.values()] == [1e6, 500.0]
    assert [type(table.type).__name__ for table in tables.values()] == ["Yarn", "Default"]
    with pytest.raises(GraphError, match=r'give "full_attention" and "sliding_attention" layers rotations that differ'):
        rope_settings(config, 64)
    assert rope_settings(config | {"layer_types": ["full_attention"] * 2}, 64).base == 1e6
    alike = CONFIG | {"rope_parameters": {"full_attention": YARN, "sliding_attention": dict(YARN)}}
    assert rope_settings(alike, 64).type == rope_settings(CONFIG | {"rope_scaling": YARN}, 64).type


def test_tables_do_not_depend_on_how_many_positions_are_asked_for() -> None:
    settings = rope_settings(CONFIG, 9000)
    np.testing.assert_array_equal(settings.tables(9000)[1][:4100], settings.tables(4100)[1])


def test_rows_are_made_as_far_as_they_are_needed() -> None:
    """Of a context of a hundred million positions, too: what nobody needs takes no memory."""
    settings = rope_settings(CONFIG, 9000)
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
    assert rope_settings(CONFIG | entries, 64).dim == dim


def test_alpha_makes_the_base_larger_at_any_length() -> None:
    """HunYuan's configs; transformers calls it "ntk_alpha"."""
    section = {"type": "dynamic", "alpha": 1000.0, "factor": 1.0, "beta_fast": 32}
    settings = rope_settings(CONFIG | {"rope_scaling": section, "rope_theta": 1e4}, 64)
    dim = settings.dim
    expected = rope_settings(CONFIG | {"rope_theta": 1e4 * 1000.0 ** (dim / (dim - 2))}, 64)
    for found, right in zip(settings.tables(64), expected.tables(64), strict=True):
        np.testing.assert_array_equal(found, right)
    (note,) = settings.notes
    assert note.endswith('entries that rope_type "dynamic" does not use: beta_fast.')


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (
            {"rope_scaling": {"rope_type": "mrope", "factor": 4}},
            "config.json has rope_type 'mrope'; supported are \"default\", \"divided\", \"dynamic\", \"linear\", "
            '"llama3", "longrope", "proportional" and "yarn", and any other can be an operator of a Python file '
            "that is given with --custom FILE.",
        ),
        ({"rope_scaling": {"rope_type": ["yarn"]}}, "config.json has rope_type [\"yarn\"]; supported are"),
        ({"rope_scaling": {"rope_type": "__init__"}}, "config.json has rope_type '__init__'; supported are"),
        ({"rope_scaling": {"type": "yarn"}}, 'factor must be a positive number for rope_type "yarn", but it is null'),
        (
            {"rope_scaling": {"type": "yarn", "factor": 4.0}, "max_position_embeddings": None},
            'max_position_embeddings must be a positive number for rope_type "yarn", but it is null',
        ),
        ({"rope_scaling": {**YARN, "truncate": None}}, "truncate must be true or false"),
        ({"rope_scaling": {**YARN, "beta_fast": "32"}}, "beta_fast must be a positive number"),
        ({"rope_scaling": {**YARN, "attention_factor": 0}}, "attention_factor must be a positive number"),
        ({"rope_scaling": YARN, "rope_theta": 1}, 'rope_theta must be more than 1 for rope_type "yarn"'),
        ({"rope_scaling": {**LONGROPE, "long_factor": LONG[1:]}}, "long_factor must be a list of 8 numbers"),
        ({"rope_scaling": {**LONGROPE, "short_factor": 1.0}}, "one an angle, but it is 1.0"),
        ({"rope_scaling": {**LONGROPE, "short_factor": [0.0] * 8}}, "short_factor must be a positive number"),
        ({"rope_scaling": {**LONGROPE, "original_max_position_embeddings": 1}}, "must be more than 1"),
        ({"partial_rotary_factor": 1.5}, "partial_rotary_factor must be at most 1, but it is 1.5"),
        ({"partial_rotary_factor": 0.2}, "rotates 3 numbers of each head, but they turn in pairs: check partial"),
        ({"partial_rotary_factor": 0.01}, "rotates 0 numbers of each head, which is too few: check partial_rotary"),
        ({"rope_parameters": {"rope_type": "proportional", "partial_rotary_factor": 0.01}}, "turns none of a head's"),
        ({"partial_rotary_factor": 0}, "partial_rotary_factor must be a positive number"),
        ({"rope_theta": 1e-20, "rope_scaling": {"type": "linear", "factor": 1e-20}}, "angles that are too large"),
        ({"layer_types": "full_attention", "rope_parameters": {"a": YARN}}, "layer_types must be a list of names"),
        ({"rope_parameters": {"a": YARN}}, "rope_parameters has an object 'a', which is the name of no kind of layer"),
        ({"layer_types": ["b"], "rope_parameters": {"a": YARN}}, "layer_types has 'b' layers, for which its rope_"),
        ({"layer_types": ["b"], "rope_parameters": {"a": YARN, "b": None}}, "has no table; it has \"a\""),
        ({"rope_scaling": {"type": "linear"}}, 'factor must be a positive number for rope_type "linear"'),
        ({"rope_scaling": {"type": "linear", "factor": "4"}}, "but it is '4'"),
        ({"rope_scaling": "linear"}, "rope_scaling must be an object or null, but it is 'linear'"),
        ({"rope_scaling": {**LLAMA3, "low_freq_factor": 0}}, "low_freq_factor must be a positive number"),
        ({"rope_theta": -1}, "rope_theta must be a positive number, but it is -1"),
        ({"rope_theta": math.inf}, "rope_theta must be a positive number, but it is Infinity"),
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
        rope_settings(CONFIG | entries, 64)
    assert expected in str(raised.value)

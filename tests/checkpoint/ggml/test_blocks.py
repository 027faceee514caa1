"""Blocks of ggml's types, against what the `gguf` package makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.checkpoint import ggml
from ftllm_nb.checkpoint.ggml.places import BYTES, FACTOR_AT, SCALES_AT, TABLES, as_places

GOLDEN = np.load(Path(__file__).parent / "golden.npz")
NAMES = [name for name in GOLDEN.files if not name.endswith(".raw")]


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_the_gguf_package(name: str) -> None:
    raw, expected = GOLDEN[f"{name}.raw"], GOLDEN[name]
    got = ggml.dequantize(name, raw)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["Q4_K", "IQ2_S"])
def test_rows_are_done_some_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggml, "_NUMBERS_AT_ONCE", 512)
    raw, expected = np.tile(GOLDEN[f"{name}.raw"], (5, 1)), np.tile(GOLDEN[name], (5, 1))
    np.testing.assert_array_equal(ggml.dequantize(name, raw[::-1]), expected[::-1])


def test_types_that_the_package_lacks() -> None:
    """Q1_0: a bit is ±1. Q2_0: two bits less 1. Q8_K: a float32 scale, 8 bits, and sums that nobody needs."""
    random = np.random.default_rng(0)
    scale = np.float16(0.375)
    bits = random.integers(0, 256, 16, np.uint8)
    raw = np.concatenate([np.array([scale]).view(np.uint8), bits])[None]
    signs = np.array([1 if bits[at // 8] >> (at % 8) & 1 else -1 for at in range(128)])
    np.testing.assert_array_equal(ggml.dequantize("Q1_0", raw)[0], 0.375 * signs)
    pairs = np.array([(bits[at // 4] >> (2 * (at % 4)) & 3) - 1.0 for at in range(64)])
    np.testing.assert_array_equal(ggml.dequantize("Q2_0", raw)[0], 0.375 * pairs)

    numbers = random.integers(-128, 128, 256, np.int8)
    raw = np.concatenate([np.array([0.1], np.float32).view(np.uint8), numbers.view(np.uint8), np.zeros(32, np.uint8)])
    np.testing.assert_array_equal(ggml.dequantize("Q8_K", raw[None])[0], np.float32(0.1) * numbers)


@pytest.mark.parametrize("name", TABLES)
def test_places_in_tables_stand_for_the_same_numbers(name: str) -> None:
    raw = GOLDEN[f"{name}.raw"]
    blocks = as_places(name, raw).reshape(-1, BYTES)
    halves = blocks[:, :SCALES_AT].reshape(-1, 8, 1, 16) >> np.array([0, 4], np.uint8)[:, None] & 15
    numbers = np.array(TABLES[name])[halves.reshape(-1, 16, 16)]
    scales = blocks[:, SCALES_AT:FACTOR_AT].view(np.int8) * blocks[:, FACTOR_AT:].copy().view(np.float32)
    np.testing.assert_array_equal((numbers * scales[..., None]).reshape(len(raw), -1), GOLDEN[name])


def test_an_infinite_scale_stays_infinite() -> None:
    raw = np.zeros((1, 18), np.uint8)
    raw[0, :2] = np.array([np.inf], np.float16).view(np.uint8)
    assert np.isinf(ggml.dequantize("Q4_0", raw)).all()


def test_an_empty_matrix_has_no_numbers() -> None:
    assert ggml.dequantize("Q4_K", np.empty((0, 144), np.uint8)).shape == (0, 256)

"""Calibrated methods and ggml's block types: what levels stand for in encoded rows, and rounding to that."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ftllm_nb.checkpoint.ggml import dequantize
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.quantization.block_fitting import SCRATCH, Encoder, lines_of, with_places_of
from ftllm_nb.quantization.block_types import written_types
from ftllm_nb.quantization.block_types.base import WrittenType
from ftllm_nb.quantization.calibration.moments import Moments

TYPES = {name: type for name, type in written_types().items() if type.with_places is not None}
each_type = pytest.mark.parametrize("type", TYPES.values(), ids=TYPES)
each_search = pytest.mark.parametrize(
    "type", [pytest.param(type, id=name, marks=[] if name in ("q4_k", "iq4_nl") else [pytest.mark.slow])
             for name, type in TYPES.items()]
)  # fmt: skip
"""Those of other types than these take seconds to compile."""


@pytest.fixture(scope="module")
def encoders() -> Iterator[dict[str, Encoder]]:
    with ThreadPoolExecutor(2) as workers:
        pool = ThreadPool(2, SCRATCH)
        yield {method: Encoder(method, pool, workers) for method in ("imatrix", "gptq", "best")}
        pool.close()


def material() -> tuple[np.ndarray, Moments]:
    random = np.random.default_rng(3)
    inputs = random.standard_normal((600, 60)) @ random.standard_normal((60, 256))
    inputs[:, 7] *= 30
    moments = Moments(256, True)
    moments.add(inputs.astype(np.float32))
    return random.standard_normal((12, 256)).astype(np.float32), moments


def test_all_types_that_have_levels_are_there() -> None:
    assert TYPES.keys() >= {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "iq4_xs", "mxfp4", "q4_k", "q5_k", "q6_k"}


@each_type
def test_places_stand_for_lines(type: WrittenType) -> None:
    weights, _ = material()
    encoded = type.encode(weights, "rtn")
    places = np.random.default_rng(1).integers(0, len(type.levels), weights.shape).astype(np.uint8)
    lines = lines_of(type, encoded, 256)
    assert lines.offsets is not None
    levels = np.array(type.levels, np.float32)[places].reshape(*lines.steps.shape, -1)
    expected = levels * lines.steps[..., None] + lines.offsets[..., None]
    changed = with_places_of(type, encoded, places)
    np.testing.assert_allclose(dequantize(type.name, changed), expected.reshape(12, 256), rtol=1e-4, atol=1e-5)
    again = with_places_of(type, changed, places)
    np.testing.assert_array_equal(again, changed)


@each_search
def test_gptq_makes_errors_good(type: WrittenType, encoders: dict[str, Encoder]) -> None:
    weights, moments = material()
    errors = {}
    for method, encoder in encoders.items():
        off = weights - dequantize(type.name, encoder.encode(type, weights, moments))
        errors[method] = np.einsum("ij,jk,ik->", off, moments.products, off)
    assert errors["gptq"] < 0.7 * errors["imatrix"]
    assert errors["best"] < errors["gptq"]
    alike = weights - dequantize(type.name, type.encode(weights, "mse"))
    assert errors["imatrix"] < np.einsum("ij,jk,ik->", alike, moments.products, alike)

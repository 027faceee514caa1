"""Blocks of ggml's types, live against the `gguf` package, which the golden values are of."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gguf")

from ftllm_nb.checkpoint import ggml
from tests.checkpoint.ggml.make_golden import grids, known_types, random_blocks

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("name", known_types())
def test_numbers_are_those_of_the_gguf_package(name: str) -> None:
    raw, expected = random_blocks(name, 7, 40, 99)
    np.testing.assert_array_equal(ggml.dequantize(name, raw), expected)


def test_sizes_are_those_of_the_gguf_package() -> None:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    theirs = {type.name: size for type, size in GGML_QUANT_SIZES.items() if isinstance(type, GGMLQuantizationType)}
    for name, type in ggml.block_types().items():
        assert theirs.get(name, (type.columns, type.nbytes)) == (type.columns, type.nbytes)


def test_grids_are_those_of_the_gguf_package() -> None:
    from ftllm_nb.checkpoint.ggml.families.grid import grid

    for name, expected in grids().items():
        np.testing.assert_array_equal(grid(name), expected)

"""Matrices of other tools' packages stand for the numbers that the packages make of them, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32
from tests.golden.foreign_matrices import ForeignCase, foreign_names


@pytest.mark.parametrize("name", foreign_names())
def test_numbers_are_the_packages(name: str, tmp_path: Path) -> None:
    case = ForeignCase(name)
    with open_checkpoint(case.write(tmp_path)) as checkpoint:
        assert set(checkpoint.tensors) == {"m.weight"}
        info = checkpoint.tensors["m.weight"]
        found = checkpoint.read("m.weight")
        if info.dtype == "bfloat16":
            found = bfloat16_as_float32(found)
        assert info.shape == case.expected.shape
        assert info.stored or case.config["quant_method"] == "compressed-tensors"
        assert info.nbytes == sum(each.nbytes for each in case.tensors.values())
        np.testing.assert_array_equal(found.astype(np.float32), case.expected)
        checkpoint.release("m.weight")

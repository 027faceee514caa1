"""Packed folders of what other tools quantized: the same numbers, the same logits, without rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.errors import UsageError
from ftllm_nb.quantization.formats import output_format
from ftllm_nb.quantization.job import QuantizeJob
from ftllm_nb.quantization.options import QuantizeOptions
from ftllm_nb.quantized_type import is_quantized
from tests.engine.test_foreign_models import FORMS, source  # noqa: F401  (a fixture)
from tests.engine.test_quantized_models import logits
from tests.executors import open_executor
from tests.foreign_folders import foreign_folder

KEPT = QuantizeOptions("auto", "rtn", format="packed")


def pack(folder: Path, out: Path) -> Path:
    with open_checkpoint(folder) as checkpoint:
        job = output_format("packed").job(checkpoint, KEPT)
        assert isinstance(job, QuantizeJob)
        job.write(out, 1, resume=False, replace=False)
    return out


@pytest.mark.parametrize("form", ["gptq", "gptq of 8 bits", "fp8"])
def test_a_packed_folder_keeps_all_numbers(tmp_path: Path, source: Path, form: str) -> None:  # noqa: F811
    folder = foreign_folder(source, tmp_path / "quantized", *FORMS[form])
    out = pack(folder, tmp_path / "packed")
    with open_checkpoint(folder) as given, open_checkpoint(out) as packed:
        assert set(given.tensors) == set(packed.tensors)
        for name, info in given.tensors.items():
            assert packed.tensors[name].dtype == info.dtype and packed.tensors[name].shape == info.shape
            assert packed.is_packed(name) == is_quantized(info.dtype)
            np.testing.assert_array_equal(packed.read(name), given.read(name))
    with open_executor("compiled", folder) as ours, open_executor("compiled", out) as other:
        np.testing.assert_array_equal(logits(ours), logits(other))


def test_an_order_of_columns_is_not_packed(tmp_path: Path, source: Path) -> None:  # noqa: F811
    folder = foreign_folder(source, tmp_path / "quantized", *FORMS["gptq of version 2, act-order"])
    with pytest.raises(UsageError, match="are ordered by their activations"):
        pack(folder, tmp_path / "packed")

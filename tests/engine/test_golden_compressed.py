"""Committed folders of the compressed-tensors package: its dequantized weights, and transformers' logits on them."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.quantized_type import QuantizedType
from tests.engine.test_quantized_models import divergences
from tests.executors import ENGINES, open_executor
from tests.golden.compressed_folders import FOLDER

FOLDERS = sorted(FOLDER.iterdir())
QUICK = "int4_groups_zero_points"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_weights_are_the_packages_bit_for_bit(folder: Path) -> None:
    with np.load(folder / "expected.npz") as expected, open_checkpoint(folder) as checkpoint:
        names = expected["names"].tolist()
        quantized = {name for name, info in checkpoint.tensors.items() if isinstance(info.dtype, QuantizedType)}
        assert set(names) == quantized
        for name, checksum in zip(names, expected["checksums"].tolist(), strict=True):
            assert zlib.crc32(checkpoint.read(name).tobytes()) == checksum, name


@pytest.mark.parametrize(
    ("engine", "folder"),
    [
        # The products of the others' types are kernels that no other quick test has.
        pytest.param(engine, folder, marks=[] if engine == "reference" or folder.name == QUICK else [pytest.mark.slow])
        for engine in ENGINES
        for folder in FOLDERS
    ],
    ids=lambda given: getattr(given, "name", given),
)
def test_logits_are_those_of_transformers(engine: str, folder: Path) -> None:
    """To 1e-4 on the references; the compiled engine rounds activations to int8."""
    with np.load(folder / "expected.npz") as archive:
        tokens, expected = archive["tokens"], archive["logits"]
    with open_executor(engine, folder) as executor:
        sequence = executor.cache.new_sequence()
        steps = ([SequenceStep(sequence, token)] for token in np.split(tokens, len(tokens)))
        found = np.concatenate([executor.run(step).copy() for step in steps])
    if engine == "reference":
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    else:
        assert divergences(expected, found).mean() < 5e-3

"""Each architecture into GGUF: the logits of the folder, and the file that the gguf package would write."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.gguf import read_gguf
from ftllm_nb.checkpoint.gguf.architectures import writing_architectures
from ftllm_nb.checkpoint.gguf.file import GgufFile
from ftllm_nb.errors import CheckpointError, UsageError
from ftllm_nb.quantization.gguf.make import GgufFileJob
from tests.oracle.architectures import ARCHITECTURES
from tests.oracle.config_parts import SIZES

pytestmark = pytest.mark.oracle
gguf = pytest.importorskip("gguf", reason="`make oracle` installs it")
pytest.importorskip("torch", reason="`make oracle` installs it")
read: Any = pytest.importorskip("tests.oracle.test_gguf_architectures")

ROWS = [
    *((name, number, config) for name in writing_architectures() for number, config in enumerate(ARCHITECTURES[name])),
    *((name, 10 + at, config) for name in writing_architectures() for at, config in enumerate(read.MORE.get(name, ()))),
]
OWN = ("general.", "tokenizer.")
BESIDE_LLAMA_CPP = ("falcon_h1", "mamba2", "nemotron_h", "kimi_linear")
"""Those of which tests/quantization/gguf/test_written_architectures.py compares whole files."""
UNUSED = (
    "expert_shared_feed_forward_length",  # which the converter makes of another size in ERNIE 4.5
    "rope.dimension_sections",  # of pictures
    "granitehybrid.rope.freq_base",  # where nothing turns
)
"""Entries that may differ."""


def write_tokenizer(folder: Path) -> None:
    """A byte-level vocabulary of 95 bytes and some words, small enough for each model here."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = [chr(each) for each in range(33, 127)] + ["Ġ"]
    vocabulary = {token: at for at, token in enumerate([*letters, "th", "the"])}
    library = Tokenizer(models.BPE(vocabulary, [("t", "h"), ("th", "e")]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.save(str(folder / "tokenizer.json"))


def written(folder: Path, dtype: str = "f32") -> Path:
    write_tokenizer(folder)
    with open_checkpoint(folder) as checkpoint:
        out = folder / "out.gguf"
        GgufFileJob(checkpoint, dtype, "rtn").write(out, 1, resume=False, replace=False)
    return out


@pytest.mark.parametrize(("architecture", "number", "changes"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_logits_are_the_folders(architecture: str, number: int, changes: dict[str, Any], tmp_path: Path) -> None:
    """What the format cannot tell is refused; all else computes the same."""
    from tests.oracle.gguf_models import write_gguf
    from tests.oracle.test_architectures import random_model

    if architecture == "nemotron_h":  # whose least time step no file has
        changes = {**changes, "time_step_min": 1e-20}
    random_model(architecture, copy.deepcopy(changes), tmp_path)
    untold = number in read.UNTOLD.get(architecture, ())
    try:
        out = written(tmp_path)
    except (CheckpointError, UsageError) as error:
        assert untold, error
        assert str(error).startswith("no GGUF file can hold")
        return
    tokens = np.random.default_rng(number).integers(3, SIZES["vocab_size"], 41).astype(np.int32)
    with open_checkpoint(tmp_path) as folder, open_checkpoint(out) as file:
        expected, got = read.logits(folder, tokens), read.logits(file, tokens)
    if architecture in read.ROUNDED or f"{architecture}-{number}" in read.ROUNDED:
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * float(np.abs(expected).max()))
    else:
        np.testing.assert_array_equal(got, expected)
    if untold or architecture in BESIDE_LLAMA_CPP:
        return
    write_gguf(tmp_path, tmp_path / "theirs.gguf")
    ours, theirs = read_gguf(out), read_gguf(tmp_path / "theirs.gguf")
    assert sizes(ours) == sizes(theirs)
    for name in theirs.tensors:
        np.testing.assert_allclose(
            ours.bytes_of(name).view("<f4"), theirs.bytes_of(name).view("<f4"), rtol=1e-5, err_msg=name
        )
    for key, value in theirs.metadata.items():
        if key.startswith(OWN) or "sliding_window_pattern" in key or (isinstance(value, str) and value == "none"):
            continue
        own = ours.metadata.get(key, 1)  # what scales by 1 need not be there
        is_same = own == value if isinstance(value, str) else np.allclose(own, value)
        assert is_same or key.endswith(UNUSED), (key, own, value)


def sizes(file: GgufFile) -> dict[str, list[int]]:
    """Of each tensor, but for axes of one number, which llama.cpp adds as it likes."""
    return {name: [size for size in each.shape if size != 1] for name, each in file.tensors.items()}



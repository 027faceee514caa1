"""Every hostile checkpoint is answered by one clear sentence, and by nothing else."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.errors import CheckpointError
from tests.hostile.checkpoints import HOSTILE, Hostile, good_folder

# What shows that a Python exception or object was printed rather than said.
INTERNAL = re.compile(
    r"Error\b|Exception|Errno|Traceback|<\w+ object|object at 0x|Expecting|codec|float\(|int\("
)


def test_the_good_folder_is_good(tmp_path: Path) -> None:
    with open_checkpoint(good_folder(tmp_path)) as checkpoint:
        assert checkpoint.read("a").tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert checkpoint.read("b").tolist() == [8, 9, 10, 11]


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE.keys())
def test_one_sentence_names_the_file(case: Hostile, tmp_path: Path) -> None:
    path = case.build(tmp_path)
    with pytest.raises(CheckpointError) as raised:
        open_checkpoint(path)
    sentence = str(raised.value)
    assert case.says.lower() in sentence.lower()
    assert sentence.startswith(str(path / case.file)), sentence
    words = sentence.replace(str(tmp_path), "")
    assert words.endswith(".") and ". " not in words and words.isprintable(), sentence
    assert not INTERNAL.search(words), sentence
    assert len(words) < 400, sentence
    # `raise … from None`: under --debug nothing but our own sentence is the cause.
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_claims_of_size_cost_no_memory(tmp_path: Path) -> None:
    for name in (
        "header_of_100_gigabytes_claimed",
        "header_of_150_megabytes_that_is_there",
        "config_of_a_terabyte",
    ):
        root = tmp_path / name
        root.mkdir()
        path = HOSTILE[name].build(root)
        tracemalloc.start()
        with pytest.raises(CheckpointError):
            open_checkpoint(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20, name

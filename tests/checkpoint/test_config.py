"""Reading the JSON files of a model folder; what cannot be read is in tests/hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm_nb.checkpoint.config import DEEPEST_JSON, deeper_than, read_json_object, read_optional_json_object
from ftllm_nb.errors import CheckpointError


def nested(levels: int) -> object:
    """A list in a list …, `levels` lists in all, around a number."""
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def test_objects_are_read_with_or_without_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + '{"bot_role": "助手：", "eos_token_id": [1, 2], "rope": null}'.encode())
        assert read_json_object(path) == {"bot_role": "助手：", "eos_token_id": [1, 2], "rope": None}


def test_numbers_that_json_does_not_have_are_read_as_python_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"limit": Infinity}')
    assert read_json_object(path) == {"limit": float("inf")}


def test_an_optional_file_may_be_absent_but_not_broken(tmp_path: Path) -> None:
    path = tmp_path / "generation_config.json"
    assert read_optional_json_object(path) == {}
    path.write_text('{"top_k": 20}')
    assert read_optional_json_object(path) == {"top_k": 20}
    path.write_text('{"top_k": 20')
    with pytest.raises(CheckpointError):
        read_optional_json_object(path)


@pytest.mark.parametrize("levels", [0, 1, 2, 5, DEEPEST_JSON])
def test_depth_counts_lists_and_objects(levels: int) -> None:
    assert not deeper_than(nested(levels), levels)
    assert deeper_than({"key": nested(levels)}, levels)

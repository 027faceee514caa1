"""Hostile checkpoints: which files hold the weights, and the index that says so."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hostile.spoiling import (
    INDEX,
    LFS_POINTER,
    WEIGHTS,
    good_folder,
    good_weights,
    hostile,
    with_index,
    with_weights,
)


@hostile(".", "no weights")
def weights_missing(root: Path) -> Path:
    folder = good_folder(root)
    (folder / WEIGHTS).unlink()
    return folder


@hostile(".", "from_pretrained")
def weights_only_as_bin(root: Path) -> Path:
    folder = weights_missing(root)
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04" + bytes(60))
    return folder


@hostile(".", "their maker's own form")
def weights_only_as_pt(root: Path) -> Path:
    folder = weights_missing(root)
    (folder / "consolidated.00.pth").write_bytes(b"PK\x03\x04" + bytes(60))
    return folder


@hostile(".", "index")
def shards_without_an_index(root: Path) -> Path:
    folder = weights_missing(root)
    (folder / "model-00001-of-00002.safetensors").write_bytes(good_weights())
    return folder


@hostile(WEIGHTS, "git-lfs")
def weights_are_a_lfs_pointer(root: Path) -> Path:
    return with_weights(root, LFS_POINTER)


@hostile(WEIGHTS, "empty")
def weights_empty(root: Path) -> Path:
    return with_weights(root, b"")


@hostile(WEIGHTS, "regular file")
def weights_are_a_folder(root: Path) -> Path:
    folder = weights_missing(root)
    (folder / WEIGHTS).mkdir()
    return folder


@hostile(WEIGHTS, "symbolic link")
def weights_are_a_symlink_loop(root: Path) -> Path:
    folder = weights_missing(root)
    (folder / WEIGHTS).symlink_to(folder / WEIGHTS)
    return folder


@hostile(INDEX, "not valid JSON")
def index_not_json(root: Path) -> Path:
    return with_index(root, b"<!doctype html><html></html>")


@hostile(INDEX, "weight_map")
def index_without_weight_map(root: Path) -> Path:
    return with_index(root, {"metadata": {"total_size": 48}})


@hostile(INDEX, "weight_map")
def index_whose_weight_map_is_a_list(root: Path) -> Path:
    return with_index(root, {"weight_map": ["one.safetensors"]})


@hostile(INDEX, "expected a .safetensors file")
def index_names_a_number(root: Path) -> Path:
    return with_index(root, {"weight_map": {"a": 7}})


@hostile(INDEX, "expected a .safetensors file")
def index_names_control_characters(root: Path) -> Path:
    return with_index(root, {"weight_map": {"a": "\x1b[2Jone.safetensors"}})


@hostile(INDEX, "outside")
def index_names_an_absolute_path(root: Path) -> Path:
    outside = root / "outside.safetensors"
    outside.write_bytes(good_weights())
    return with_index(root, {"weight_map": {"a": str(outside)}})


@hostile(INDEX, "outside")
def index_climbs_out_of_the_folder(root: Path) -> Path:
    (root / "outside.safetensors").write_bytes(good_weights())
    return with_index(root, {"weight_map": {"a": "../outside.safetensors"}})


@hostile(INDEX, "outside")
def index_climbs_out_as_windows_does(root: Path) -> Path:
    return with_index(root, {"weight_map": {"a": "sub\\..\\..\\outside.safetensors"}})


@hostile("two.safetensors", "missing")
def shard_missing(root: Path) -> Path:
    return with_index(root, {"weight_map": {"a": "one.safetensors", "c": "two.safetensors"}})


@hostile("one.safetensors", "'c'")
def shard_without_the_tensor(root: Path) -> Path:
    return with_index(root, {"weight_map": {"a": "one.safetensors", "c": "one.safetensors"}})


@hostile("one.safetensors", "truncated")
def shard_truncated(root: Path) -> Path:
    folder = with_index(root, {"weight_map": {"a": "one.safetensors"}})
    os.truncate(folder / "one.safetensors", len(good_weights()) - 1)
    return folder

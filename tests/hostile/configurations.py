"""Hostile checkpoints: the path itself, and config.json and its sisters."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hostile.spoiling import LFS_POINTER, WEIGHTS, good_folder, good_weights, hostile, with_config

# The path itself.


@hostile(".", "no such folder")
def path_is_missing(root: Path) -> Path:
    return root / "nowhere"


@hostile(".", "no such folder")
def path_goes_through_a_file(root: Path) -> Path:
    return good_folder(root) / "config.json" / "deeper"


@hostile(".", "is a file")
def path_is_a_file(root: Path) -> Path:
    path = root / "model"
    path.write_text("a model, honestly")
    return path


@hostile(".", "give the folder")
def path_is_the_weights_file(root: Path) -> Path:
    return good_folder(root) / WEIGHTS


@hostile(".", "GGUF")
def path_is_a_gguf_file(root: Path) -> Path:
    path = root / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    return path


@hostile(".", "symbolic link")
def path_is_a_symlink_loop(root: Path) -> Path:
    (root / "one").symlink_to(root / "two")
    (root / "two").symlink_to(root / "one")
    return root / "one"


@hostile(".", "name too long")
def path_is_too_long(root: Path) -> Path:
    return root / ("long" * 70)


@hostile(".", "config.json")
def folder_is_empty(root: Path) -> Path:
    folder = root / "model"
    folder.mkdir()
    return folder


@hostile(".", "GGUF")
def folder_of_gguf(root: Path) -> Path:
    folder = folder_is_empty(root)
    (folder / "model-q4.gguf").write_bytes(b"GGUF" + bytes(60))
    return folder


@hostile(".", "adapter")
def folder_of_an_adapter(root: Path) -> Path:
    folder = folder_is_empty(root)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(good_weights())
    return folder


# config.json and its sisters.


@hostile(".", "config.json")
def config_missing(root: Path) -> Path:
    folder = good_folder(root)
    (folder / "config.json").unlink()
    return folder


@hostile("config.json", "not valid JSON")
def config_not_json(root: Path) -> Path:
    return with_config(root, b"{'model_type': 'qwen2'}")


@hostile("config.json", "line 2, column 1")
def config_cut_off(root: Path) -> Path:
    return with_config(root, b'{"model_type": "qwen2",\n')


@hostile("config.json", "list")
def config_is_a_list(root: Path) -> Path:
    return with_config(root, b"[1, 2, 3]")


@hostile("config.json", "null")
def config_is_null(root: Path) -> Path:
    return with_config(root, b"null")


@hostile("config.json", "UTF-8")
def config_not_utf8(root: Path) -> Path:
    return with_config(root, b'{"model_type": "\xff\xfe"}')


@hostile("config.json", "empty")
def config_empty(root: Path) -> Path:
    return with_config(root, b"")


@hostile("config.json", "nested")
def config_bomb_of_lists(root: Path) -> Path:
    return with_config(root, b"[" * 200_000)


@hostile("config.json", "nested")
def config_nested_200_deep(root: Path) -> Path:
    return with_config(root, b'{"a":' * 200 + b"1" + b"}" * 200)


@hostile("config.json", "digits")
def config_number_of_a_million_digits(root: Path) -> Path:
    return with_config(root, b'{"hidden_size": ' + b"9" * 1_000_000 + b"}")


@hostile("config.json", "larger than")
def config_of_a_terabyte(root: Path) -> Path:
    folder = good_folder(root)
    os.truncate(folder / "config.json", 1 << 40)
    return folder


@hostile("config.json", "git-lfs")
def config_is_a_lfs_pointer(root: Path) -> Path:
    return with_config(root, LFS_POINTER)


@hostile("config.json", "regular file")
def config_is_a_folder(root: Path) -> Path:
    folder = config_missing(root)
    (folder / "config.json").mkdir()
    return folder


@hostile("config.json", "regular file")
def config_is_a_pipe_that_nobody_writes(root: Path) -> Path:
    folder = config_missing(root)
    os.mkfifo(folder / "config.json")
    return folder


@hostile("config.json", "regular file")
def config_is_an_endless_device(root: Path) -> Path:
    folder = config_missing(root)
    (folder / "config.json").symlink_to("/dev/zero")
    return folder


@hostile("config.json", "symbolic link")
def config_is_a_symlink_loop(root: Path) -> Path:
    folder = config_missing(root)
    (folder / "config.json").symlink_to(folder / "config.json")
    return folder


@hostile("generation_config.json", "not valid JSON")
def generation_config_not_json(root: Path) -> Path:
    folder = good_folder(root)
    (folder / "generation_config.json").write_text("temperature: 0.7")
    return folder


@hostile("tokenizer_config.json", "list")
def tokenizer_config_is_a_list(root: Path) -> Path:
    folder = good_folder(root)
    (folder / "tokenizer_config.json").write_text("[]")
    return folder

"""Model folders that are right; those that are not are in tests/hostile."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.errors import CheckpointError
from tests.hostile.checkpoints import good_folder


def sharded_folder(root: Path, shards: int = 3, tensors: int = 5) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder of several shards under an index, and what is in it."""
    random = np.random.default_rng(3)
    contents, weight_map = {}, {}
    for shard in range(shards):
        file_name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        held = {f"s{shard}.t{i}": random.standard_normal((40, 33), np.float32) for i in range(tensors)}
        safetensors.numpy.save_file(held, root / file_name, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(held, file_name))
        contents.update(held)
    (root / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})
    )
    (root / "config.json").write_text('{"model_type": "qwen2"}')
    return root, contents


def test_configurations_are_dicts_and_absent_ones_are_empty(tmp_path: Path) -> None:
    folder = good_folder(tmp_path)
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.path == folder
        assert checkpoint.config["model_type"] == "qwen2"
        assert checkpoint.generation_config == {} and checkpoint.tokenizer_config == {}
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    with open_checkpoint(str(folder)) as checkpoint:
        assert checkpoint.generation_config == {"eos_token_id": [1, 2]}
        assert checkpoint.tokenizer_config == {"chat_template": "{{ messages }}"}


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    folder, contents = sharded_folder(tmp_path)
    with open_checkpoint(folder) as checkpoint:
        assert set(checkpoint.tensors) == set(contents)
        for name, array in contents.items():
            assert checkpoint.tensors[name].name == name
            np.testing.assert_array_equal(checkpoint.read(name), array)
            checkpoint.release(name)


def test_the_index_decides_which_tensors_of_a_shard_count(tmp_path: Path) -> None:
    folder, _ = sharded_folder(tmp_path)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"s0.t0": "model-00001-of-00003.safetensors"}}))
    with open_checkpoint(folder) as checkpoint:
        assert list(checkpoint.tensors) == ["s0.t0"]
        with pytest.raises(CheckpointError, match=r"holds no tensor named 's0\.t1'"):
            checkpoint.read("s0.t1")


def test_a_single_file_goes_before_an_index(tmp_path: Path) -> None:
    folder, _ = sharded_folder(tmp_path)
    safetensors.numpy.save_file({"alone": np.ones(3, np.float32)}, folder / "model.safetensors")
    with open_checkpoint(folder) as checkpoint:
        assert list(checkpoint.tensors) == ["alone"]


def test_files_may_be_links_out_of_the_folder_as_in_the_hub_cache(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    snapshot = tmp_path / "snapshots" / "main"
    blobs.mkdir(), snapshot.mkdir(parents=True)
    folder, contents = sharded_folder(blobs)
    for file in folder.iterdir():
        (snapshot / file.name).symlink_to(os.path.relpath(file, snapshot))
    with open_checkpoint(snapshot) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("s2.t4"), contents["s2.t4"])


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    good_folder(tmp_path)
    with open_checkpoint("~/model") as checkpoint:
        assert "a" in checkpoint.tensors


def test_pages_of_several_files_are_read_by_several_threads(tmp_path: Path) -> None:
    folder, contents = sharded_folder(tmp_path, shards=4, tensors=20)
    failures: list[BaseException] = []

    def read_all(checkpoint: Checkpoint, seed: int) -> None:
        try:
            for name in np.random.default_rng(seed).permutation(list(contents)):
                np.testing.assert_array_equal(checkpoint.read(name), contents[name])
                checkpoint.release(name)
        except BaseException as failure:
            failures.append(failure)

    with open_checkpoint(folder) as checkpoint:
        threads = [threading.Thread(target=read_all, args=(checkpoint, seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_after_closing_nothing_can_be_read(tmp_path: Path) -> None:
    with open_checkpoint(good_folder(tmp_path)) as checkpoint:
        kept = checkpoint.read("b")
    assert kept.tolist() == [8, 9, 10, 11]
    with pytest.raises(CheckpointError, match="was closed"):
        checkpoint.read("a")


def test_a_refused_checkpoint_leaves_no_file_open(tmp_path: Path) -> None:
    folder, _ = sharded_folder(tmp_path)
    (folder / "model-00003-of-00003.safetensors").write_bytes(b"damaged, alas")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(CheckpointError, match="model-00003"):
        open_checkpoint(folder)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


def test_a_path_with_a_null_character_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no path may hold"):
        open_checkpoint("models/\0qwen")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    folder = good_folder(tmp_path)
    (folder / "config.json").chmod(0)
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read: Permission denied"):
        open_checkpoint(folder)

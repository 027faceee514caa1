"""`ftllm-nb quantize --format gguf` on the bundled model and on small ones."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb import loading
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32
from ftllm_nb.checkpoint.gguf import read_gguf
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantization.block_types import written_types
from ftllm_nb.quantization.gguf.recipes import matrix_type
from ftllm_nb.tokenizer import choose_tokenizer
from ftllm_nb.tokenizer.gguf.probes import PROBES
from ftllm_nb.tokenizer.tokenizer import Tokenizer
from tests.quantization.test_command import DEMO, quantize
from tests.quantization.test_faults import hindered, sentence


def tokenizer_of(path: Path) -> Tokenizer:
    with open_checkpoint(path) as checkpoint:
        return choose_tokenizer(
            path, checkpoint.tokenizer_config, checkpoint.config, checkpoint.generation_config,
            metadata=checkpoint.tokenizer_metadata, warn=lambda _: None,
        )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model in a mixture, whose name says what it is."""
    out = tmp_path_factory.mktemp("made") / "demo.gguf"
    done = quantize(DEMO, "-o", out, "--dtype", "q4_k_m", "--method", "rtn", "-t", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: 3.") and [entry.name for entry in out.parent.iterdir()] == ["demo.gguf"]
    return out


def test_tensors_are_the_models_in_the_types_of_the_mixture(made: Path) -> None:
    file = read_gguf(made)
    assert {file.tensors[f"blk.{layer}.ffn_down.weight"].type for layer in range(6)} == {"Q4_K", "Q6_K"}
    assert file.tensors["token_embd.weight"].type == "Q6_K" and file.tensors["output_norm.weight"].type == "F32"
    assert file.metadata["general.file_type"] == 15
    with open_checkpoint(DEMO) as folder, open_checkpoint(made) as read:
        assert set(read.tensors) == set(folder.tensors)
        layers = ("layers.1.self_attn.q_proj", "layers.0.mlp.down_proj", "norm")
        for name in (f"model.{each}.weight" for each in layers):
            stored = bfloat16_as_float32(folder.read(name))
            source = read.sources[name]  # type: ignore[attr-defined]
            kind = file.tensors[source.name].type.lower()
            rows = np.atleast_2d(stored)
            expected = np.ascontiguousarray(written_types()[kind].encode(rows, "rtn"))
            got = file.bytes_of(source.name).reshape(len(rows), -1)
            order = source.rows if source.rows is not None else slice(None)
            np.testing.assert_array_equal(got[order], expected)


def test_tokens_template_and_settings_are_the_folders(made: Path) -> None:
    folder, read = tokenizer_of(DEMO), tokenizer_of(made)
    for text in (*PROBES, "<|im_start|>user\nWhat is 17 + 25?<|im_end|>"):
        assert read.encode_prompt(text) == folder.encode_prompt(text)
        assert read.decode(read.encode_text(text)) == folder.decode(folder.encode_text(text))
    messages = [{"role": "user", "content": "Hi"}]
    assert read.apply_chat_template(messages) == folder.apply_chat_template(messages)
    assert folder.eos_token_ids <= read.eos_token_ids and read.bos_token_id == folder.bos_token_id
    with open_checkpoint(made) as checkpoint:
        given = json.loads((DEMO / "generation_config.json").read_text())
        assert checkpoint.generation_config.get("temperature") == given.get("temperature")


def test_a_rule_names_tensors_as_the_model_does_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"key": "up_proj", "dtype": "f16"}, {"key": "layers.0.mlp.down", "dtype": "auto"}]))
    done = quantize(DEMO, "-o", tmp_path / "x.gguf", "--dtype", "q8_0", "--dtype_config", rules, "--dry_run")
    assert done.returncode == 0 and [entry.name for entry in tmp_path.iterdir()] == ["rules.json"]
    lines = {line.split("|")[1].strip(): line.split("|")[4].strip() for line in done.stdout.splitlines()}
    assert lines["blk.2.ffn_up.weight"] == "f16" and lines["blk.0.ffn_down.weight"] == "bf16"
    assert lines["blk.1.ffn_down.weight"] == lines["token_embd.weight"] == "q8_0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dtype", "int8"), "--dtype int8 is of --format compressed_tensors or packed, and gguf has auto, bf16, "),
        (("-o", "x", "--format", "packed", "--dtype", "q4_0"), "--dtype q4_0 is of --format gguf, and packed has "),
        (("--asymmetric",), "--asymmetric is not for GGUF files, whose types say it"),
        (("--custom", "model.py"), "--custom is not for GGUF files"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    refused = quantize(DEMO, "-o", tmp_path / "x.gguf", *arguments)
    assert refused.returncode == 2 and sentence(refused.stderr).startswith(said)
    assert list(tmp_path.iterdir()) == []


def test_places_that_are_none(made: Path, tmp_path: Path) -> None:
    def refusal(out: Path, *more: str) -> str:
        refused = quantize(DEMO, "-o", out, "--format", "gguf", "--dtype", "q8_0", *more)
        assert refused.returncode == 2
        return sentence(refused.stderr)

    assert "is no name of a GGUF file: it must end in .gguf" in refusal(tmp_path / "folder")
    assert "no folder: make it first" in refusal(tmp_path / "no" / "x.gguf")
    copy = tmp_path / "x.gguf"
    shutil.copy(made, copy)
    assert refusal(copy) == f"{copy} exists: name another -o, or let --force replace it."
    assert quantize(DEMO, "-o", copy, "--dtype", "q8_0", "--method", "rtn", "--force").returncode == 0
    assert read_gguf(copy).metadata["general.file_type"] == 7
    copy.write_text("a diary")
    assert "or no GGUF file: name another -o" in refusal(copy, "--force") and copy.read_text() == "a diary"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model, to be changed."""
    target = tmp_path_factory.mktemp("folder") / "model"
    shutil.copytree(DEMO, target)
    return target


def changed(folder: Path, name: str, **entries: object) -> Path:
    """A copy whose JSON file has other entries."""
    target = folder.parent / name
    target.mkdir()
    for entry in folder.iterdir():
        if entry.name != "config.json":
            (target / entry.name).symlink_to(entry)
    config = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **entries}))
    return target


@pytest.mark.parametrize(
    ("name", "entries", "said"),
    [
        (
            "architecture",
            {"model_type": "ministral3", "head_dim": 64, "attention_bias": True},
            "whose model_type is ministral3: files are written of cohere2, ",
        ),
        (
            "rotations",
            {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "truncate": False, "attention_factor": 1.1}},
            "no entry for the way in which the model scales its rotations",
        ),
    ],
)
def test_models_that_no_file_can_hold(folder: Path, name: str, entries: dict[str, object], said: str) -> None:
    refused = quantize(changed(folder, name, **entries), "--format", "gguf", "--dtype", "q8_0", "--dry_run")
    assert refused.returncode == 2 and said in sentence(refused.stderr)
    assert sentence(refused.stderr).startswith("no GGUF file can ")


def test_a_tokenizer_that_no_file_can_hold(folder: Path) -> None:
    target = changed(folder, "tokens")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "[aeiou]"}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ],
    }
    (target / "tokenizer.json").unlink()
    (target / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused = quantize(target, "--format", "gguf", "--dtype", "q8_0", "--dry_run")
    assert refused.returncode == 2
    assert "cuts text into words in a way for which GGUF has no name that is known here (a.x-4.0" in refused.stderr


def test_killed_and_resumed(made: Path, tmp_path: Path) -> None:
    out, partial = tmp_path / "demo.gguf", tmp_path / "demo.gguf.partial"
    arguments = (DEMO, "-o", out, "--dtype", "q4_k_m", "--method", "rtn", "-t", "2")
    hindered("kill=30", *arguments).communicate(timeout=60)
    assert [entry.name for entry in tmp_path.iterdir()] == [partial.name]
    kept = (partial / "quantize.journal").read_bytes().count(b"\n")
    assert kept > 5 and not (partial / "config.json").exists()
    other = quantize(DEMO, "-o", out, "--dtype", "q4_k_s", "--method", "rtn", "--resume")
    assert other.returncode == 2 and "begun from another model or with other flags" in other.stderr
    assert quantize(*arguments, "--resume").returncode == 0
    assert [entry.name for entry in tmp_path.iterdir()] == [out.name] and out.read_bytes() == made.read_bytes()


def test_ctrl_c_keeps_what_was_done(tmp_path: Path) -> None:
    out, partial = tmp_path / "demo.gguf", tmp_path / "demo.gguf.partial"
    process = hindered("slow=0.2", DEMO, "-o", out, "--dtype", "q8_0", "--method", "rtn")
    journal = partial / "quantize.journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and stderr.endswith(f"stopped: {partial} keeps what was done, for --resume.\n")


def test_a_disk_that_becomes_full(tmp_path: Path) -> None:
    process = hindered("full=20", DEMO, "-o", tmp_path / "x.gguf", "--dtype", "q8_0", "--method", "rtn")
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 2 and f"{tmp_path} has no room left" in stderr and list(tmp_path.iterdir()) == []


def test_mixtures_give_more_bits_where_llama_cpp_does() -> None:
    chosen = {layer: matrix_type("q4_k_m", f"blk.{layer}.attn_v.weight", 24, False) for layer in range(24)}
    assert [layer for layer, dtype in chosen.items() if dtype == "q6_k"] == [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23]
    assert matrix_type("q4_k_s", "blk.2.ffn_down.weight", 24, False) == "q5_k"
    assert matrix_type("q4_k_s", "blk.3.ffn_down.weight", 24, False) == "q4_k"
    for name in ("ffn_down_exps", "ffn_down_shexp"):
        of = [matrix_type("q4_k_m", f"blk.{layer}.{name}.weight", 24, False, experts=64) for layer in (2, 3, 5)]
        assert of == ["q6_k", "q4_k", "q6_k"]
    eight = [matrix_type("q4_k_s", f"blk.9.attn_{each}.weight", 24, False, experts=8) for each in ("q", "k", "output")]
    assert eight == ["q4_k", "q8_0", "q5_k"]
    assert matrix_type("q4_0", "output.weight", 24, True) == "q6_k" and matrix_type("f16", "x", 24, True) == "f16"


def test_a_gguf_file_again(made: Path, tmp_path: Path) -> None:
    """As it is, byte for byte but for what says so; and in another type, which is said."""
    again, other = tmp_path / "again.gguf", tmp_path / "other.gguf"
    (tmp_path / "tokenizer.json").write_text("{}")  # of whatever lies in the same folder
    assert quantize(made, "-o", again, "--dtype", "auto").stderr == ""
    first, second = read_gguf(made), read_gguf(again)
    assert {name: each.type for name, each in first.tensors.items()} == {
        name: each.type for name, each in second.tensors.items()
    }
    for name in first.tensors:
        np.testing.assert_array_equal(first.bytes_of(name), second.bytes_of(name), name)
    for key in first.metadata.keys() | second.metadata.keys():
        if key != "general.file_type":
            assert np.array_equal(first.metadata[key], second.metadata[key]), key
    done = quantize(made, "-o", other, "--dtype", "q8_0", "--method", "rtn")
    assert done.returncode == 0
    assert done.stderr == (
        "warning: matrices of q4_k, q6_k are rounded once more, which loses more than rounding floats.\n"
    )
    with open_checkpoint(made) as before, open_checkpoint(other) as after:
        name = "model.layers.1.self_attn.q_proj.weight"
        np.testing.assert_allclose(after.read(name), before.read(name), rtol=0, atol=0.004)


@pytest.mark.parametrize(("dtype", "type"), [("int4g32", "Q4_0"), ("int8g32", "Q8_0")])
def test_a_quantized_folder_as_it_is(tmp_path: Path, dtype: str, type: str) -> None:
    folder, out = tmp_path / "folder", tmp_path / "x.gguf"
    assert quantize(DEMO, "-o", folder, "--dtype", dtype).returncode == 0
    refused = quantize(folder, "-o", out, "--dtype", "q4_0")
    assert refused.returncode == 2 and "is quantized already (compressed-tensors)" in refused.stderr
    assert quantize(folder, "-o", out, "--dtype", "auto").returncode == 0
    assert read_gguf(out).tensors["blk.0.ffn_up.weight"].type == type
    with open_checkpoint(folder) as before, open_checkpoint(out) as after:
        for name in before.tensors:
            expected = before.read(name)
            if expected.dtype == np.uint16:
                expected = bfloat16_as_float32(expected)
            got = after.read(name)
            np.testing.assert_array_equal(bfloat16_as_float32(got) if got.dtype == np.uint16 else got, expected, name)


def test_quantized_folders_that_gguf_has_no_type_for(tmp_path: Path) -> None:
    assert quantize(DEMO, "-o", tmp_path / "folder", "--dtype", "int4g128").returncode == 0
    refused = quantize(tmp_path / "folder", "-o", tmp_path / "x.gguf", "--dtype", "auto")
    assert refused.returncode == 2 and "GGUF has no type for int4g128_float16, that of model.layers." in refused.stderr


def test_a_name_does_not_make_it_a_phi_3(folder: Path, tmp_path: Path) -> None:
    """Readers take it that tokens of a Phi-3 swallow the spaces after them."""
    target = changed(folder, "Phi3-mini")
    assert quantize(target, "-o", tmp_path / "x.gguf", "--dtype", "q8_0", "--method", "rtn").returncode == 0
    assert read_gguf(tmp_path / "x.gguf").metadata["general.name"] == "Phi 3-mini"


@pytest.mark.parametrize(
    ("format", "dtype"), [("compressed_tensors", "int8g32"), ("packed", "int4g32"), ("compressed_tensors", "int4g128")]
)
def test_a_folder_of_a_gguf_file(made: Path, tmp_path: Path, format: str, dtype: str) -> None:
    out = tmp_path / "folder"
    done = quantize(made, "-o", out, "--format", format, "--dtype", dtype, "--method", "rtn")
    assert done.returncode == 0, done.stderr
    assert "matrices of Q4_K, Q6_K are rounded once more" in done.stderr
    before, after = tokenizer_of(made), tokenizer_of(out)
    for text in (*PROBES, "<|im_start|>user\nWhat is 17 + 25?<|im_end|>"):
        assert after.encode_prompt(text) == before.encode_prompt(text)
    messages = [{"role": "user", "content": "Hi"}]
    assert after.apply_chat_template(messages) == before.apply_chat_template(messages)
    assert after.eos_token_ids == before.eos_token_ids
    with open_checkpoint(made) as file, open_checkpoint(out) as folder:
        assert set(folder.tensors) == set(file.tensors)
        name = "model.layers.1.self_attn.q_proj.weight"
        expected = file.read(name)
        np.testing.assert_allclose(folder.read(name), expected, rtol=0, atol=float(np.abs(expected).max()) / 7)
        np.testing.assert_array_equal(folder.read("model.norm.weight"), file.read("model.norm.weight"))
    again = quantize(made, "-o", out, "--format", format, "--dtype", dtype, "--method", "rtn", "--force")
    assert again.returncode == 0, again.stderr


def logits(path: Path) -> np.ndarray:
    with open_checkpoint(path) as checkpoint:
        executor = loading.open_executor(loading.describe(checkpoint), checkpoint)
        try:
            sequence = executor.cache.new_sequence()
            return executor.run([SequenceStep(sequence, np.arange(3, 20, dtype=np.int32), True)])[0].copy()
        finally:
            executor.close()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["q4_k_m", "q4_0"])
def test_a_packed_folder_keeps_the_types_of_a_gguf_file(made: Path, tmp_path: Path, dtype: str) -> None:
    file, out = tmp_path / "x.gguf", tmp_path / "packed"
    if dtype == "q4_k_m":
        file = made
    else:
        assert quantize(DEMO, "-o", file, "--dtype", dtype, "--method", "rtn").returncode == 0
    done = quantize(file, "-o", out, "--format", "packed", "--dtype", "auto")
    assert done.returncode == 0 and "rounded" not in done.stderr, done.stderr
    np.testing.assert_array_equal(logits(out), logits(file))
    with open_checkpoint(file) as given, open_checkpoint(out) as packed:
        name = "model.layers.1.mlp.up_proj.weight"
        assert packed.is_packed(name) and packed.tensors[name].dtype == given.tensors[name].dtype
        assert packed.tensors[name].shape == given.tensors[name].shape
    shard = out / "model.safetensors"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CheckpointError, match="do not bear out the checksum"):
        logits(out)


def test_keeping_types_is_for_gguf_files(tmp_path: Path) -> None:
    refused = quantize(DEMO, "-o", tmp_path / "x", "--format", "packed", "--dtype", "auto")
    assert refused.returncode == 2 and "--dtype auto keeps the types of a GGUF file" in refused.stderr
    assert quantize(DEMO, "-o", tmp_path / "x.gguf", "--dtype", "bf16").returncode == 0
    refused = quantize(tmp_path / "x.gguf", "-o", tmp_path / "x", "--format", "packed", "--dtype", "auto")
    assert refused.returncode == 2 and "of floats, name a type to pack" in refused.stderr

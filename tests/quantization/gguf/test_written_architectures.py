"""Files of architectures whose tensors lie otherwise in a folder: what is written is the file that llama.cpp has.

tests/golden/recurrent_logits.npz proves of these files that they are read as llama.cpp reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.gguf import read_gguf
from ftllm_nb.checkpoint.gguf.architectures.granitehybrid import GraniteHybrid
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantization.gguf import job
from ftllm_nb.quantization.gguf.make import GgufFileJob
from ftllm_nb.quantization.gguf.recipes import matrix_type
from tests.checkpoint.gguf.tiny_models import opened, write
from tests.gguf_files import Tensor, Typed, floats
from tests.golden.recurrent_files import KEY_HEADS, MAMBA_HEADS, MODELS, STATE, VALUE_HEADS, VOCABULARY, file_of

Tensors = dict[str, NDArray[Any]]
TOKENS = [*(chr(each) for each in range(ord("A"), ord("A") + VOCABULARY - 3)), "Ġ", "th", "the"]
MERGES = ["t h", "th e"]
TAUGHT_OTHERWISE = ("qwen35 that guesses", "qwen3next, older")
"""Files that are written in another form than they have."""


def file_with_tokens(kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    metadata, tensors = file_of(kind)
    return metadata | {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.merges": MERGES, "tokenizer.ggml.token_type": Typed("i32[]", [1] * VOCABULARY),
    }, tensors  # fmt: skip


def written(path: Path, out: Path, dtype: str) -> Path:
    with open_checkpoint(path) as checkpoint:
        GgufFileJob(checkpoint, dtype, "rtn").write(out, 1, resume=False, replace=False)
    return out


def require_same(path: Path, meant: Path) -> None:
    """Tensors and metadata, but for what says where a file comes from, and entries that change nothing."""
    ours, theirs = read_gguf(path), read_gguf(meant)
    assert {name: (each.shape, each.type) for name, each in ours.tensors.items()} == {
        name: (each.shape, each.type) for name, each in theirs.tensors.items()
    }
    for name in theirs.tensors:
        values = (file.bytes_of(name).view("<f4") for file in (ours, theirs))
        np.testing.assert_allclose(*values, rtol=1e-6, err_msg=name)
    prefix = f"{theirs.metadata['general.architecture']}."
    assert ours.metadata["general.architecture"] == theirs.metadata["general.architecture"]
    left_out = ("rope.freq_base", "feed_forward_length", "rope.dimension_count")  # where nothing reads them
    for key, value in theirs.metadata.items():
        if key.startswith(prefix) and not key.endswith(left_out):
            assert np.allclose(ours.metadata[key], value), key


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind not in TAUGHT_OTHERWISE])
def test_a_file_again(kind: str, tmp_path: Path) -> None:
    given = write(tmp_path, *file_with_tokens(kind))
    require_same(written(given, tmp_path / "again.gguf", "auto"), given)


def by_expert(tensors: Tensors, config: dict[str, Any]) -> None:
    """Experts one by one."""
    for name in [name for name in tensors if ".experts." in name]:
        head, _, part = name.partition(".experts.")
        for expert, matrix in enumerate(tensors.pop(name)):
            tensors[f"{head}.experts.{expert}.{part}"] = matrix


def granite(tensors: Tensors, config: dict[str, Any]) -> None:
    """Gates and ups in one, of experts and of what all tokens go through."""
    for name in [name for name in tensors if name.endswith("gate_proj.weight")]:
        shared = name.partition("shared_mlp.")
        up = tensors.pop(name.replace("gate_proj", "up_proj"))
        joined = np.concatenate([tensors.pop(name), up], axis=-2)
        at = shared[0] + "shared_mlp" if shared[1] else name.removesuffix(".experts.gate_proj.weight")
        tensors[f"{at}.input_linear.weight"] = joined
        if not shared[1]:
            tensors[f"{at}.output_linear.weight"] = tensors.pop(name.replace("gate_proj", "down_proj"))


def side_by_side(values: NDArray[Any], size: int, axis: int = 0) -> NDArray[Any]:
    """Heads of values of each key head, that were apart."""
    values = np.moveaxis(values, axis, 0)
    heads = values.reshape(VALUE_HEADS // KEY_HEADS, KEY_HEADS, size, -1).swapaxes(0, 1)
    return np.moveaxis(heads.reshape(values.shape), 0, axis)


def qwen35(tensors: Tensors, config: dict[str, Any]) -> None:
    """Heads of values side by side, and experts' gates and ups in one."""
    before = 2 * KEY_HEADS * STATE
    del config["linear_value_heads_are_tiled"]
    for name, values in list(tensors.items()):
        part = name.partition(".linear_attn.")[2]
        if part in ("in_proj_qkv.weight", "conv1d.weight"):
            tensors[name] = np.concatenate([values[:before], side_by_side(values[before:], STATE)])
        elif part == "in_proj_z.weight":
            tensors[name] = side_by_side(values, STATE)
        elif part == "out_proj.weight":
            tensors[name] = side_by_side(values, STATE, axis=1)
        elif part in ("in_proj_a.weight", "in_proj_b.weight", "A_log", "dt_bias"):
            tensors[name] = side_by_side(values, 1)
        elif name.endswith(".experts.gate_proj.weight"):
            at = name.removesuffix(".gate_proj.weight")
            ups = tensors.pop(f"{at}.up_proj.weight")
            tensors[f"{at}.gate_up_proj"] = np.concatenate([tensors.pop(name), ups], axis=1)
            tensors[f"{at}.down_proj"] = tensors.pop(f"{at}.down_proj.weight")


def qwen3next(tensors: Tensors, config: dict[str, Any]) -> None:
    """Queries, keys, values and gates of each key head together, experts one by one."""
    per = VALUE_HEADS // KEY_HEADS * STATE
    for name in [name for name in tensors if ".in_proj_qkv." in name]:
        mixed, gates = tensors.pop(name), tensors.pop(name.replace("qkv", "z"))
        q, k, v = np.split(mixed, [KEY_HEADS * STATE, 2 * KEY_HEADS * STATE])
        parts = [each.reshape(KEY_HEADS, size, -1) for each, size in ((q, STATE), (k, STATE), (v, per), (gates, per))]
        tensors[name.replace("qkv", "qkvz")] = np.concatenate(parts, axis=1).reshape(-1, mixed.shape[1])
    by_expert(tensors, config)


def falcon(tensors: Tensors, config: dict[str, Any]) -> None:
    """With multipliers, by which matrices are smaller."""
    names = ("embedding", "lm_head", "key", "attention_in", "attention_out", "ssm_in", "ssm_out")
    of = {name: 1.5 + number / 4 for number, name in enumerate(names)}
    config |= {f"{name}_multiplier": factor for name, factor in of.items()}
    gate, down = config["mlp_multipliers"] = [0.5, 3.0]
    parts = config["ssm_multipliers"] = [0.25, 2.0, 0.75, 1.25, 1.75]
    config["tie_word_embeddings"] = False
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] / of["lm_head"]
    factors = {
        "embed_tokens": of["embedding"], "q_proj": of["attention_in"], "v_proj": of["attention_in"],
        "k_proj": of["attention_in"] * of["key"], "o_proj": of["attention_out"], "out_proj": of["ssm_out"],
        "gate_proj": gate, "down_proj": down,
    }  # fmt: skip
    heads, state = config["mamba_n_heads"], config["mamba_n_groups"] * config["mamba_d_state"]
    for name, values in tensors.items():
        part = name.split(".")[-2]
        if part == "in_proj":
            inner = (len(values) - heads - 2 * state) // 2
            rows = np.repeat(parts, [inner, inner, state, state, heads])[:, None]
            tensors[name] = values / (rows * of["ssm_in"])
        elif part in factors and name.endswith(".weight"):
            tensors[name] = values / factors[part]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("granitehybrid", granite), ("granitehybrid with experts", granite), ("nemotron_h_moe", by_expert),
        ("lfm2moe", by_expert), ("qwen35moe", qwen35), ("qwen3next", qwen3next), ("falcon-h1", falcon),
    ],
)  # fmt: skip
def test_a_folder(kind: str, change: Callable[[Tensors, dict[str, Any]], None], tmp_path: Path) -> None:
    metadata, tensors = file_with_tokens(kind)
    with opened(tmp_path, metadata, tensors) as checkpoint:
        own = {name: np.array(checkpoint.read(name)) for name in checkpoint.tensors}
        config = checkpoint.config
    change(own, config)
    folder = tmp_path / "folder"
    folder.mkdir()
    arrays = {name: np.ascontiguousarray(values, np.float32) for name, values in own.items()}
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {token: at for at, token in enumerate(TOKENS)}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": MERGES},
    }))  # fmt: skip
    out = written(folder, tmp_path / "out.gguf", "f32")
    meant = tmp_path / "model.gguf"
    if kind == "falcon-h1":  # whose matrix that makes logits is a tensor of its own now
        meant = write(tmp_path, metadata, tensors | {"output.weight": tensors["token_embd.weight"]})
    require_same(out, meant)


def test_a_vector_that_is_not_finite_is_damage(tmp_path: Path) -> None:
    metadata, tensors = file_with_tokens("nemotron_h")
    name = next(name for name in tensors if name.endswith("ssm_d"))
    given = write(tmp_path, metadata, tensors | {name: floats(np.full((MAMBA_HEADS, 1), np.nan))})
    with pytest.raises(CheckpointError, match=r'mixer\.D" holds numbers that are not finite: its file is damaged\.$'):
        written(given, tmp_path / "again.gguf", "q8_0")


def test_experts_have_the_bits_of_what_they_stand_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, int] = {}

    def type_of(dtype: str, name: str, layers: int, makes_logits: bool, experts: int = 0) -> str:
        if name:
            asked[name] = experts
        return matrix_type(dtype, name, layers, makes_logits, experts)

    monkeypatch.setattr(job, "matrix_type", type_of)
    given = write(tmp_path, *file_with_tokens("granitehybrid with experts"))
    stacks = {name: each.shape for name, each in read_gguf(given).tensors.items() if "ffn_down_exps" in name}
    monkeypatch.setattr(GraniteHybrid, "refused", classmethod(lambda cls, model: ["so it is."]))
    with open_checkpoint(given) as checkpoint:
        planned = GgufFileJob(checkpoint, "q4_k_m", "rtn")
        assert "so it is." in planned.notes()
    assert {asked[name] for name in stacks} == {shape[0] for shape in stacks.values()}
    types = {tensor.name: tensor.dtype for tensor in planned.tensors}
    finer = [name for name in stacks if matrix_type("q4_k_m", name, len(stacks), False) == "q6_k"]
    assert finer and {types[name] for name in finer} == {"q8_0"}, "whose columns are too few for q6_k"
    assert {types[name.replace("down", "up")] for name in finer} == {"q5_0"}

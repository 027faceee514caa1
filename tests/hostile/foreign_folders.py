"""Hostile checkpoints: folders of other programs and quantizers, and downloads that are not whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.quantized_weights import quantized_folder
from tests.hostile.spoiling import (
    CONFIG,
    HOSTILE,
    LFS_POINTER,
    WEIGHTS,
    Hostile,
    entry,
    good_folder,
    good_weights,
    hostile,
    safetensors_bytes,
    with_index,
)


def with_entries(root: Path, **entries: Any) -> Path:
    """A good folder with these entries in its config.json."""
    folder = good_folder(root)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **entries}))
    return folder


def with_tensors(root: Path, **tensors: tuple[str, int]) -> Path:
    """A good folder, its tensors of these names ("__" is a dot): type and bytes."""
    folder, header, at = good_folder(root), {}, 0
    for name, (dtype, size) in tensors.items():
        elements = size // {"U32": 4, "I32": 4, "F16": 2, "BF16": 2, "F32": 4}.get(dtype, 1)
        header[name.replace("__", ".")] = entry([elements], at, at + size, dtype)
        at += size
    (folder / WEIGHTS).write_bytes(safetensors_bytes(header, bytes(at)))
    return folder


def with_file(root: Path, name: str, content: str | bytes = "{}", *, without: tuple[str, ...] = ()) -> Path:
    """A good folder with one file more, and some less."""
    folder = good_folder(root)
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    for other in without:
        (folder / other).unlink()
    return folder


def register(name: str, says: str, build: Callable[[Path], Path], file: str = ".") -> None:
    """Put a folder into `HOSTILE` that one call makes."""
    HOSTILE[name] = Hostile(build, file, says)


# Adapters and models that make no text.

PEFT = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"})
NO_MODEL = "holds a LoRA adapter and no model: merge it into its base model and save that."


@hostile(".", NO_MODEL)
def adapter_with_the_config_of_its_base(root: Path) -> Path:
    folder = with_file(root, "adapter_config.json", PEFT)
    (folder / WEIGHTS).rename(folder / "adapter_model.safetensors")
    return folder


@hostile(".", NO_MODEL)
def adapter_with_a_damaged_config(root: Path) -> Path:
    folder = adapter_with_the_config_of_its_base(root)
    (folder / "config.json").write_text("{")
    return folder


@hostile(".", "in adapter_model.bin, a LoRA adapter to it")
def adapter_beside_its_base(root: Path) -> Path:
    folder = with_file(root, "adapter_config.json", PEFT)
    (folder / "adapter_model.bin").write_bytes(b"PK\x03\x04")
    return folder


register(
    "diffusers",
    "pipeline of diffusers",
    lambda root: with_file(root, "model_index.json", without=("config.json",)),
)
register("part_of_diffusers", "diffusers", lambda root: with_entries(root, _diffusers_version="0.30.0"))
register(
    "sentence_transformers",
    "sentence-transformers, which makes embeddings",
    lambda root: with_file(root, "config_sentence_transformers.json"),
)

# Weights in other forms.

for file_name, said in {
    "model-q4_0.gguf": "GGUF",
    "model.onnx": "ONNX",
    "onnx/model.onnx": "ONNX",
    "openvino_model.xml": "another program",
    "model.tflite": "another program",
    "rank0.engine": "another program",
    "consolidated.safetensors": "maker's own form",
    "pytorch_model-00001-of-00002.bin": "pickles of PyTorch (pytorch_model-00001-of-00002.bin)",
    "tf_model.h5": "TensorFlow or Flax",
    "flax_model.msgpack": "TensorFlow or Flax",
    "qmodel.pt": "HQQ",
    "model.safetensors.incomplete": "a download that did not end (model.safetensors.incomplete)",
    ".cache/huggingface/download/abc.incomplete": "a download that did not end (abc.incomplete)",
}.items():
    register(
        f"only_{file_name}".replace("/", "_"),
        said,
        lambda root, file_name=file_name: with_file(root, file_name, "x", without=(WEIGHTS,)),
    )


@hostile(".", "GGUF file")
def path_is_a_gguf_file_of_another_name(root: Path) -> Path:
    path = root / "model"
    path.write_bytes(b"GGUF" + bytes(60))
    return path


@hostile("two.safetensors", "is missing: download the model again")
def download_that_lacks_a_shard(root: Path) -> Path:
    folder = with_index(root, {"weight_map": {"a": "one.safetensors", "c": "two.safetensors"}})
    (folder / "two.safetensors.incomplete").write_bytes(b"")
    return folder


# Quantized by others: as config.json says, as files beside it say, as the tensors say.

for method, called in {
    "quanto": "quanto", "aqlm": "AQLM", "torchao": "torchao", "AQLM": "AQLM",
}.items():  # fmt: skip
    register(
        f"quant_method_{method}",
        f"is quantized by {called}, a form that is not read",
        lambda root, method=method: quantized_folder(
            root, {"m.qweight": ("I32", [12, 8])}, quant_method=method, config_groups=None
        ),
    )
FOUR = {"group_size": 64, "bits": 4}
for name, said, entries in (
    ("no_method", "does not say how", {"quantization_config": FOUR}),
    ("compression_config", "early layout of compressed-tensors", {"compression_config": {"sparsity_config": {}}}),
):
    register(f"config_of_{name}", said, lambda root, entries=entries: with_entries(root, **entries))
for name, said, tensors in (
    ("gptq", "by GPTQ or AWQ (tensor 'q_proj.qweight')", {"q_proj__qweight": ("I32", 8)}),
    ("bitsandbytes_4", "bitsandbytes", {"q_proj__weight": ("U8", 8), "q_proj__weight__absmax": ("F32", 8)}),
    ("bitsandbytes_8", "bitsandbytes", {"q_proj__weight": ("I8", 8), "q_proj__SCB": ("F32", 8)}),
    ("hqq", "HQQ", {"q_proj__W_q": ("U8", 8)}),
    ("aqlm", "AQLM", {"q_proj__codebooks": ("F16", 8)}),
    ("mlx", "MLX", {"q_proj__weight": ("U32", 8), "q_proj__scales": ("F16", 8)}),
    ("fp8", "FP8", {"q_proj__weight": ("F8_E4M3", 8)}),
    ("mxfp4", "MXFP4", {"mlp__gate_blocks": ("U8", 8)}),
    ("lora", "LoRA adapter", {"q_proj__lora_A__weight": ("F32", 8)}),
):
    register(f"tensors_of_{name}", said, lambda root, tensors=tensors: with_tensors(root, **tensors))

# Files that are not what they are called.

READ = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "tokenizer.model",
        "special_tokens_map.json", "chat_template.jinja", WEIGHTS)  # fmt: skip


def replaced(root: Path, name: str, content: bytes | None) -> Path:
    """A good folder with this content of one file, None for a link to nothing."""
    folder = good_folder(root)
    (folder / name).unlink(missing_ok=True)
    if content is None:
        (folder / name).symlink_to("../../blobs/0123456789abcdef")
    else:
        (folder / name).write_bytes(content)
    return folder


for file_name in READ:
    for spoiled, said, content in (
        ("link_to_nothing", "is a link to ../../blobs/0123456789abcdef, which is not there", None),
        ("lfs_pointer", "git-lfs pointer", LFS_POINTER),
        ("empty", "is empty", b""),
    ):
        register(
            f"{spoiled}_{file_name}",
            said,
            lambda root, file_name=file_name, content=content: replaced(root, file_name, content),
            file_name,
        )


@hostile(".", "is a link to nowhere, which is not there")
def path_is_a_link_to_nothing(root: Path) -> Path:
    (root / "model").symlink_to("nowhere")
    return root / "model"


@hostile("model-00002-of-00002.safetensors", "is a link to")
def shard_is_a_link_to_nothing(root: Path) -> Path:
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    folder = with_index(root, {"weight_map": shards})
    (folder / shards["a"]).write_bytes(good_weights())
    (folder / shards["b"]).symlink_to("../../blobs/fedcba")
    return folder

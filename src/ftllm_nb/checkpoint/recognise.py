"""What lies at a path that is no model for this engine: recognised, said what it is, and what to do.

Folders of other programs, quantizations of other kinds and broken downloads are recognised before anything of them is
read; a check that fires later would speak of a missing tensor or a shape. A kind is an entry of KINDS, METHODS or
TENSORS.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ftllm_nb.checkpoint.base import TensorInfo
from ftllm_nb.checkpoint.config import read_optional_json_object
from ftllm_nb.checkpoint.files import LFS_POINTER, file_mode, list_folder, reason, shown
from ftllm_nb.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".aria2", ".download", ".tmp")
_READ_FILES = re.compile(
    r"(?:config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|chat_template)\.json|"
    r"tokenizer\.model|chat_template\.jinja|model\.safetensors\.index\.json|.+\.safetensors"
)
"""The files that a model is loaded from."""
_LARGEST_POINTER = 1024


@dataclass(frozen=True)
class Kind:
    """Something that is no model here. `found` gives what shows it, or None; `says` goes on after the folder's name."""

    found: Callable[[Look], str | None]
    says: str


class Look:
    """What a first look at a folder shows: its names, and config.json as far as it can be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = list_folder(path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """{} where the file is missing or damaged: what reads it says so."""
        try:
            return read_optional_json_object(self.path / "config.json")
        except CheckpointError:
            return {}

    @property
    def has_weights(self) -> bool:
        """Whether there is a file from which reading weights would begin."""
        return SINGLE_FILE in self.names or INDEX_FILE in self.names

    @property
    def quantization(self) -> dict[str, Any]:
        """config.json's `quantization_config`; {} for none."""
        found = self.config.get("quantization_config")
        return found if isinstance(found, dict) else {}


def _file(name: str) -> Callable[[Look], str | None]:
    return lambda look: name if name in look.names else None


def _only_weights(pattern: str) -> Callable[[Look], str | None]:
    """A file of this name, in a folder without weights as safetensors."""
    expression = re.compile(pattern, re.IGNORECASE)

    def found(look: Look) -> str | None:
        return None if look.has_weights else next(filter(expression.fullmatch, look.names), None)

    return found


def _entry(name: str) -> Callable[[Look], str | None]:
    """A non-empty entry of config.json."""
    return lambda look: f"config.json's {name}" if look.config.get(name) else None


def _adapter(look: Look) -> str | None:
    return "adapter_config.json" if "adapter_config.json" in look.names and not look.has_weights else None


def _adapter_beside_model(look: Look) -> str | None:
    return next((name for name in look.names if re.fullmatch(r"adapter_model\.(?:safetensors|bin)", name)), None)


def _unfinished(look: Look) -> str | None:
    """A file that a download left, where the weights are missing."""
    if look.has_weights:
        return None
    below = look.path / ".cache" / "huggingface" / "download"
    names = [*look.names, *(list_folder(below) if below.is_dir() else [])]
    return next((name for name in names if name.lower().endswith(_UNFINISHED)), None)


def _unnamed_quantization(look: Look) -> str | None:
    known = {"quant_method", "config_groups", "load_in_4bit", "load_in_8bit"}
    is_named = bool(known & set(look.quantization)) or look.config.get("quantization")
    return "config.json's quantization_config" if look.quantization and not is_named else None


_FLOAT = "take the model in bfloat16 or float16, which --dtype int4g128 or ftllm-nb quantize makes small here"
KINDS = (
    Kind(_adapter, "holds a LoRA adapter and no model: merge it into its base model and save that."),
    Kind(
        _adapter_beside_model,
        "holds a model and, in {evidence}, a LoRA adapter to it: merge them and save that, or take the adapter's files "
        "away to use the model without it.",
    ),
    Kind(
        _file("model_index.json"),
        "holds a pipeline of diffusers, which makes images: expected a language model.",
    ),
    Kind(_entry("_diffusers_version"), "holds a part of a diffusers pipeline: expected a language model."),
    Kind(
        _file("config_sentence_transformers.json"),
        "holds a model of sentence-transformers, which makes embeddings and no text: expected a language model.",
    ),
    Kind(
        _unfinished,
        "holds a download that did not end ({evidence}): go on with it, or download the model again.",
    ),
    Kind(
        _entry("compression_config"),
        "is quantized in an early layout of compressed-tensors ({evidence}), which is not read: save it again with "
        "today's llm-compressor, or take the float model.",
    ),
    Kind(
        _file("qmodel.pt"),
        "is quantized by HQQ and saved as a pickle of PyTorch ({evidence}), which is not read: save it as safetensors "
        "with transformers (save_pretrained), or take the float model.",
    ),
    Kind(
        _unnamed_quantization,
        f"is quantized, but {{evidence}} does not say how (it has no quant_method): {_FLOAT}.",
    ),
    Kind(
        _only_weights(r"(?:onnx|.*\.onnx)"),
        "holds an ONNX model ({evidence}), which cannot be read: download its .safetensors.",
    ),
    Kind(
        _only_weights(r"openvino_model.*|.*\.(?:mlpackage|mlmodelc|tflite|litertlm|task|engine|mnn|pte)"),
        "holds a model that another program compiled ({evidence}), which cannot be read: download its .safetensors.",
    ),
    Kind(
        _only_weights(r"consolidated\..*"),
        "holds weights in their maker's own form ({evidence}): take the model's folder in Hugging Face form, or "
        "convert it with transformers.",
    ),
    Kind(
        _only_weights(r".*\.(?:bin|pt|pth|ckpt)|pytorch_model\.bin\.index\.json"),
        "holds its weights only as pickles of PyTorch ({evidence}): convert it with transformers' "
        '`AutoModelForCausalLM.from_pretrained("{path}").save_pretrained("{path}-safetensors")` and copy the '
        "tokenizer's files there.",
    ),
    Kind(
        _only_weights(r"tf_model\.h5|.*\.ckpt\.index|flax_model.*\.msgpack|.*\.msgpack"),
        "holds its weights only in the form of TensorFlow or Flax ({evidence}): load it with an older transformers and "
        "save it as safetensors, or download another copy.",
    ),
)
"""In the order in which they are looked for."""

METHODS = {
    "aqlm": "AQLM",
    "bitnet": "BitNet",
    "eetq": "EETQ",
    "exl2": "ExLlamaV2",
    "exl3": "ExLlamaV3",
    "fp_quant": "FP-Quant",
    "higgs": "HIGGS",
    "quanto": "quanto",
    "quark": "Quark",
    "spqr": "SpQR",
    "torchao": "torchao",
    "vptq": "VPTQ",
}
"""What the values of quant_method are called that nothing here reads."""

_NOT_READ = f"a form that is not read: {_FLOAT}"
_UNSAID = "but config.json has no quantization_config that says how: take the config.json that belongs to the weights"
TENSORS = (
    (r"\.lora_[AB]\.", "", "holds the tensors of a LoRA adapter", "no model: merge it into its base and save that"),
    (r"\.(?:absmax|quant_map|SCB)$|\.quant_state\.bitsandbytes__", "", "is quantized by bitsandbytes", _UNSAID),
    (r"\.(?:qweight|qzeros)$", "", "is quantized by GPTQ or AWQ", _UNSAID),
    (r"\.W_q$", "", "is quantized by HQQ", _UNSAID),
    (r"\.W_q_packed$", "", "is quantized by HQQ for GemLite", _NOT_READ),
    (r"\.codebooks$", "", "is quantized by AQLM", _NOT_READ),
    (r"\.weight$", "U32", "is quantized by MLX", _UNSAID.replace("quantization_config", "quantization")),
    (r"_blocks$", "U8", "is quantized in MXFP4", _UNSAID),
    (r"\.weight_scale_inv$", "", "is quantized in FP8", _UNSAID),
    (r"", "F8_E4M3", "is quantized in FP8", _UNSAID),
    (r"", "F8_E5M2", "is quantized in FP8", _UNSAID),
)
"""(what a tensor's name holds, its type or "" for any, what that shows, what to do)."""


def require_model_folder(folder: Path) -> None:
    """Raise `CheckpointError` for a path where no model folder lies that can be read, as far as names tell."""
    look = _look_at(folder)
    _refuse_foreign(look)
    _require_config(look)
    if not look.has_weights:
        raise CheckpointError(_no_weights(look))


def refuse_foreign_folder(folder: Path) -> None:
    """Raise `CheckpointError` for a folder whose small files tell that its weights would be of no use here."""
    _refuse_foreign(_look_at(folder))


def _refuse_foreign(look: Look) -> None:
    folder = look.path
    for kind in KINDS:
        evidence = kind.found(look)
        if evidence is not None:
            says = kind.says.replace("{evidence}", evidence if evidence.isprintable() else shown(evidence))
            raise CheckpointError(f"{folder} {says.replace('{path}', str(folder))}")
    method = look.quantization.get("quant_method")
    if isinstance(method, str) and method.lower() in METHODS:
        raise CheckpointError(f"{folder} is quantized by {METHODS[method.lower()]}, a form that is not read: {_FLOAT}.")


def require_config_folder(folder: Path) -> None:
    """The same for what only reads config.json: there may be no weights, or others."""
    _require_config(_look_at(folder))


def _look_at(folder: Path) -> Look:
    """Raises `CheckpointError` for what is no folder, and for a file of a model that is none."""
    mode = file_mode(folder)
    if mode is None and folder.is_symlink():
        raise CheckpointError(f"{folder} is a link to {os.readlink(folder)}, which is not there.")
    if mode is None:
        raise CheckpointError(
            f"{folder}: no such folder or file; a model's folder, a GGUF file, OWNER/NAME on the Hugging Face hub or "
            "demo is expected."
        )
    if not stat.S_ISDIR(mode):
        raise CheckpointError(_not_a_folder(folder))
    look = Look(folder)
    for name in filter(_READ_FILES.fullmatch, look.names):
        _require_file(folder / name)
    return look


def _require_config(look: Look) -> None:
    if "config.json" not in look.names:
        raise CheckpointError(
            f"{look.path} holds no config.json: expected a Hugging Face model folder, so check path and download."
        )


def require_readable_tensors(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> None:
    """Raise `CheckpointError` for weights that are quantized in a form that their names alone tell."""
    if config.get("quantization_config"):
        return  # which says how
    for pattern, dtype, what, remedy in TENSORS:
        expression = re.compile(pattern)
        for name, info in tensors.items():
            if dtype in ("", info.dtype) and expression.search(name):
                raise CheckpointError(f"{folder} {what} (tensor {shown(name)}), {remedy}.")


def _require_file(file: Path) -> None:
    """Raise `CheckpointError` for a link to nothing, an empty file and a git-lfs pointer."""
    mode = file_mode(file)
    if mode is None:
        raise CheckpointError(
            f"{file} is a link to {os.readlink(file)}, which is not there: download the model again, or copy the files "
            "that links lead to."
        )
    if not stat.S_ISREG(mode):
        return  # what reads it says so
    try:
        size = file.stat().st_size
        start = b""
        if 0 < size <= _LARGEST_POINTER:
            with open(file, "rb") as opened:
                start = opened.read(len(LFS_POINTER))
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {reason(error)}.") from None
    if size == 0:
        raise CheckpointError(f"{file} is empty: download the file again.")
    if start == LFS_POINTER:
        raise CheckpointError(
            f"{file} is a git-lfs pointer and not the file itself: run `git lfs pull` in {file.parent}."
        )


def _not_a_folder(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in (".onnx", ".tflite", ".mlmodel", ".engine"):
        return (
            f"{path} is a model of another program, which cannot be read: give the model's Hugging Face folder or its "
            "GGUF file instead."
        )
    if suffix in (".safetensors", ".json", ".model", *_PICKLED):
        return f"{path} is a file: give the folder it lies in, {path.absolute().parent}."
    return (
        f"{path} is a file and not in GGUF: expected a Hugging Face model folder, with config.json and .safetensors "
        "files, or a GGUF file."
    )


def _no_weights(look: Look) -> str:
    found = [name for name in look.names if name.lower().endswith(".safetensors")]
    if found:
        return (
            f"{look.path} holds {shown(found[0])}, but neither {SINGLE_FILE} nor {INDEX_FILE}, which says what "
            "lies in which file: download the missing one."
        )
    return f"{look.path} holds no weights: expected {SINGLE_FILE}, or {INDEX_FILE} and the files that it names."

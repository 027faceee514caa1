"""GGUF files that hold no language model: what each is, and what to do."""

from __future__ import annotations

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.gguf.file import GgufFile
from ftllm_nb.errors import CheckpointError

ARCHITECTURE, TYPE = "general.architecture", "general.type"

_BY_TYPE = {
    "adapter": "holds a LoRA adapter and no model: merge it into its base model and give that",
    "mmproj": "holds the part of a model that sees or hears, and not the language model: give the other .gguf file",
    "imatrix": "holds an importance matrix, which quantizing reads, and no model: give the model's .gguf file",
    "vocab": "holds a vocabulary and no model: give the model's .gguf file",
}
_BY_ARCHITECTURE = {
    "clip": _BY_TYPE["mmproj"],
    "imatrix": _BY_TYPE["imatrix"],
    "controlvector": "holds a control vector and no model, and these are not applied here",
    **dict.fromkeys(
        ("whisper", "sd1", "sdxl", "sd3", "flux", "lumina2", "qwen_image", "wan", "hyvid", "ltxv", "aura", "cosmos"),
        "holds a model that writes no text: a language model is expected",
    ),
}


def require_language_model(file: GgufFile) -> str:
    """The architecture that the file names. Raises `CheckpointError` for a file that holds something else."""
    metadata, path = file.metadata, file.path
    architecture = metadata.get(ARCHITECTURE)
    kind = metadata.get(TYPE)
    says = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    if says is None and isinstance(architecture, str):
        says = _BY_ARCHITECTURE.get(architecture)
    if says is None and any(name.endswith((".lora_a", ".lora_b", ".loraA", ".loraB")) for name in file.tensors):
        says = _BY_TYPE["adapter"]
    if says is None and any(key.startswith("imatrix.") for key in metadata):
        says = _BY_TYPE["imatrix"]
    if says is not None:
        raise CheckpointError(f"{path} {says}.")
    if not isinstance(architecture, str):
        found = "names none" if architecture is None else f"has {shown(architecture)} there"
        raise CheckpointError(
            f"{path} does not say what kind of model it is ({ARCHITECTURE}: it {found}), so download another file."
        )
    if not file.tensors:
        raise CheckpointError(f"{path} {_BY_TYPE['vocab']}.")
    return architecture

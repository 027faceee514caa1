"""What a file's metadata says of generating: where answers end, and how tokens are chosen."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.metadata import shortest

_ENDS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
_SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}
"""general.sampling.NAME → the entry of generation_config.json."""


def generation_entries(metadata: dict[str, Any]) -> dict[str, Any]:
    """The entries of a generation_config.json that the metadata tells."""
    found: dict[str, Any] = {}
    ends = [metadata[name] for name in _ENDS if type(metadata.get(name)) is int]
    if ends:
        found["eos_token_id"] = list(dict.fromkeys(ends))
    bos = metadata.get("tokenizer.ggml.bos_token_id")
    if type(bos) is int:
        found["bos_token_id"] = bos
    sampling = {entry: metadata.get(f"general.sampling.{name}") for name, entry in _SAMPLING.items()}
    told = {
        entry: shortest(value) if isinstance(value, float) else value
        for entry, value in sampling.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    return {**found, **told, **({"do_sample": True} if told else {})}


def sampling_metadata(generation_config: dict[str, Any]) -> dict[str, Any]:
    """The entries of a file's metadata that tell how a generation_config.json chooses tokens."""
    if generation_config.get("do_sample") is False:
        return {}
    given = {name: generation_config.get(entry) for name, entry in _SAMPLING.items()}
    return {
        f"general.sampling.{name}": int(value) if name == "top_k" else float(value)
        for name, value in given.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }

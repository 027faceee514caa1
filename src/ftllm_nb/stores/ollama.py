"""Ollama: a manifest for each name, whose layers are blobs; one of them is the model's GGUF file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ftllm_nb.checkpoint.config import read_json_object
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError
from ftllm_nb.stores.store import Store, StoredModel, files_below, home

_HOST, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"
_KIND = "application/vnd.ollama.image."
_DIGEST = re.compile(r"sha256[:-](?P<digits>[0-9a-f]{64})")
_ENTRIES = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
    "num_predict": "max_new_tokens",
}
"""Parameters → entries of generation_config.json."""
_OF_THE_MACHINE = {
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "use_mmap", "use_mlock", "low_vram",
    "numa", "f16_kv", "logits_all", "vocab_only", "repeat_last_n", "penalize_newline",
}  # fmt: skip
"""Parameters on how a model is run and not on what it answers, and those that only say how far others reach."""
_NOT_USED = {"system": "a system message (--system gives one)", "messages": "messages before the conversation"}
"""Kinds of layers that would change answers."""


class Ollama(Store):
    """A model is called as in `ollama list`: MODEL:TAG, NAMESPACE/MODEL:TAG or HOST/NAMESPACE/MODEL:TAG.

    The template is written for Ollama, so that the one in the GGUF file is used instead.
    """

    title = "Ollama"

    def folders(self) -> list[Path]:
        """OLLAMA_MODELS, or the user's, and that of the service which its installer makes on Linux."""
        given = os.environ.get("OLLAMA_MODELS")
        if given:
            return [Path(os.path.expanduser(given))]
        return [home(".ollama", "models"), Path("/usr/share/ollama/.ollama/models")]

    def models(self) -> list[StoredModel]:
        """One a manifest."""
        found = []
        for folder in self.folders():
            for manifest in files_below(folder / "manifests"):
                if manifest.count("/") == 3:
                    found.append(self._model(folder, manifest))
        return sorted(found, key=lambda model: model.name.lower())

    def spellings(self, name: str) -> list[str]:
        """See `Store.spellings`."""
        place, _, tag = name.partition(":")
        parts = place.split("/")
        if len(parts) > 3:
            return []
        host, namespace, model = [_HOST, _NAMESPACE][: 3 - len(parts)] + parts
        return [_called(host, namespace, model, tag or _TAG)]

    def _model(self, folder: Path, manifest: str) -> StoredModel:
        path = folder / "manifests" / manifest
        host, namespace, model, tag = manifest.split("/")
        name = _called(host, namespace, model, tag)
        again = f"`ollama pull {name}` fetches it again"
        try:
            layers = _layers(path)
            found = _model_layer(path, layers, name, again)
            blob = _blob(folder, found, path, again)
            parameters = [_parameters(folder, each, path, again) for each in layers if _is(each, "params")]
        except CheckpointError as error:
            return StoredModel(self.title, name, path, problem=str(error))
        generation, stops, others = _meant(parameters[-1] if parameters else {})
        unused = [what for kind, what in _NOT_USED.items() if any(_is(layer, kind) for layer in layers)]
        unused += [f"the parameter {other}" for other in others]
        size = sum(layer["size"] for layer in layers if type(layer.get("size")) is int)
        return StoredModel(
            self.title, name, blob, size, path.stat().st_mtime, generation=generation, stops=stops,
            unused=tuple(f"Ollama has {what} for {name}, which is not used here." for what in unused),
        )  # fmt: skip


def _called(host: str, namespace: str, model: str, tag: str) -> str:
    """A name as Ollama shows it: without what it takes for granted, but always with a tag."""
    if host != _HOST:
        return f"{host}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace == _NAMESPACE else f"{namespace}/{model}:{tag}"


def _layers(path: Path) -> list[dict[str, Any]]:
    layers = read_json_object(path).get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise CheckpointError(f"{path} lists no layers, so it is no manifest of Ollama's: pull the model again.")
    return layers


def _is(layer: dict[str, Any], kind: str) -> bool:
    return layer.get("mediaType") == _KIND + kind


def _model_layer(path: Path, layers: list[dict[str, Any]], name: str, again: str) -> dict[str, Any]:
    """The layer of the weights. Raises `CheckpointError` where it is not one GGUF file and nothing more."""
    models = [layer for layer in layers if _is(layer, "model")]
    if any(_is(layer, "adapter") for layer in layers):
        raise CheckpointError(
            f"Ollama's {name} is a model with an adapter (LoRA) beside it, which is not applied here: give a model "
            "that it is merged into."
        )
    if len(models) > 1:
        raise CheckpointError(
            f"Ollama's {name} is split into {len(models)} files, which its store keeps without their names: take the "
            "model from the Hugging Face hub, or one that is a single file."
        )
    if not models:
        kinds = sorted({str(layer.get("mediaType")).removeprefix(_KIND) for layer in layers})
        holds = "only the part of a model that sees (projector)" if "projector" in kinds else "no model in GGUF"
        listed = ", ".join(map(shown, kinds)) or "nothing"
        raise CheckpointError(f"Ollama's {name} holds {holds}, its layers being {listed} ({path}): {again}.")
    return models[0]


def _blob(folder: Path, layer: dict[str, Any], manifest: Path, again: str) -> Path:
    """A layer's file."""
    digest = layer.get("digest")
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise CheckpointError(f"{manifest} names {shown(digest)} where a blob's digest was expected: {again}.")
    blobs = folder / "blobs"
    paths = [blobs / f"sha256-{match['digits']}", blobs / f"sha256:{match['digits']}"]  # older versions had a colon
    blob = next((path for path in paths if path.is_file()), None)
    if blob is None:
        raise CheckpointError(f"{paths[0]}, which {manifest} names, is missing: {again}.")
    return blob


def _parameters(folder: Path, layer: dict[str, Any], manifest: Path, again: str) -> dict[str, Any]:
    return read_json_object(_blob(folder, layer, manifest, again))


def _meant(parameters: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...], list[str]]:
    """Entries of generation_config.json, texts at which answers end, and names of parameters of another meaning."""
    generation: dict[str, Any] = {}
    stops: list[str] = []
    others = []
    for name, value in parameters.items():
        if name == "stop":
            stops += [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        elif name in _ENTRIES:
            if name != "num_predict" or (isinstance(value, int) and value > 0):  # −1: as many as it likes
                generation[_ENTRIES[name]] = value
        elif name not in _OF_THE_MACHINE:
            others.append(name)
    if any(entry != "max_new_tokens" for entry in generation):
        generation["do_sample"] = True
    return generation, tuple(stops), others


STORE = Ollama()

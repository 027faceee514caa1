"""llama.cpp's own cache, of the years before it took the Hugging Face hub's: files beside manifests that name them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from ftllm_nb.checkpoint.config import read_json_object
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError
from ftllm_nb.stores.store import Store, StoredModel, facts_of, gguf_groups, home, names_below

_MANIFEST = re.compile(r"manifest=(?P<owner>[^=]+)=(?P<repository>[^=]+)=(?P<tag>[^=]+)\.json")


class LlamaCpp(Store):
    """A model is OWNER/REPOSITORY:TAG, as after llama.cpp's -hf; without a tag it is `latest`."""

    title = "llama.cpp"

    def folders(self) -> list[Path]:
        """LLAMA_CACHE, or where the system has caches."""
        given = os.environ.get("LLAMA_CACHE")
        if given:
            return [Path(os.path.expanduser(given))]
        if sys.platform == "darwin":
            return [home("Library", "Caches", "llama.cpp")]
        return [Path(os.environ.get("XDG_CACHE_HOME") or home(".cache")) / "llama.cpp"]

    def models(self) -> list[StoredModel]:
        """One a manifest."""
        found = [
            self._model(folder, name, match)
            for folder in self.folders()
            for name in names_below(folder)
            if (match := _MANIFEST.fullmatch(name)) is not None
        ]
        return sorted(found, key=lambda model: model.name.lower())

    def spellings(self, name: str) -> list[str]:
        """See `Store.spellings`."""
        return [name if ":" in name else f"{name}:latest"]

    def _model(self, folder: Path, manifest: str, match: re.Match[str]) -> StoredModel:
        repository = f"{match['owner']}/{match['repository']}"
        name, again = f"{repository}:{match['tag']}", f"`llama-cli -hf {repository}:{match['tag']}` fetches it again"
        try:
            file = read_json_object(folder / manifest).get("ggufFile")
        except CheckpointError as error:
            return StoredModel(self.title, name, folder / manifest, problem=str(error))
        remote = file.get("rfilename") if isinstance(file, dict) else None
        if not isinstance(remote, str) or not remote:
            problem = f"{folder / manifest} names no GGUF file, but {shown(file)}: {again}."
            return StoredModel(self.title, name, folder / manifest, problem=problem)
        path = folder / f"{repository}/{remote}".replace("/", "_")
        names = names_below(folder)
        if path.name not in names:
            return StoredModel(self.title, name, path, problem=f"{path}, the file of {name}, is missing: {again}.")
        parts = next((group for group in gguf_groups(names) if path.name in group), [path.name])
        size, changed = facts_of([folder / part for part in parts])
        return StoredModel(self.title, name, path, size, changed)


STORE = LlamaCpp()

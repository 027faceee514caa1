"""LM Studio: folders PUBLISHER/REPOSITORY that hold GGUF files, as on the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path

from ftllm_nb.checkpoint.config import read_optional_json_object
from ftllm_nb.errors import CheckpointError
from ftllm_nb.hub import gguf_files
from ftllm_nb.stores.store import Store, StoredModel, facts_of, files_below, gguf_groups, home, names_below

_SETTINGS, _CHOSEN = "settings.json", "downloadsFolder"


class LMStudio(Store):
    """A model is PUBLISHER/REPOSITORY, with :TYPE as on the hub where there are several, or the path of its file."""

    title = "LM Studio"

    def folders(self) -> list[Path]:
        """The one that was chosen in its settings, its own, and the one of older versions."""
        try:
            chosen = read_optional_json_object(home(".lmstudio", _SETTINGS)).get(_CHOSEN)
        except CheckpointError:
            chosen = None
        folders = [Path(os.path.expanduser(chosen))] if isinstance(chosen, str) and chosen else []
        folders += [home(".lmstudio", "models"), home(".cache", "lm-studio", "models")]
        return list(dict.fromkeys(folders))

    def models(self) -> list[StoredModel]:
        """PUBLISHER/REPOSITORY where it holds one model, and the paths of files where there are several."""
        found = []
        for root, repository in self._repositories():
            groups = gguf_groups(files_below(root / repository))
            for parts in groups:
                name = repository if len(groups) == 1 else f"{repository}/{parts[0]}"
                found.append(self._model(name, root / repository, parts))
        return sorted(found, key=lambda model: model.name.lower())

    def find(self, name: str) -> StoredModel | None:
        """See `Store.find`."""
        plain, _, kind = name.partition(":")
        for root, repository in self._repositories():
            folder = root / repository
            if plain.lower() == repository.lower():
                parts = gguf_files(files_below(folder), kind or None)
            elif plain.lower().startswith(f"{repository.lower()}/") and not kind:
                parts = gguf_files(files_below(folder), plain[len(repository) + 1 :])
            else:
                continue
            if parts:
                return self._model(name, folder, parts)
        return None

    def _repositories(self) -> list[tuple[Path, str]]:
        """The folders that may hold models, and PUBLISHER/REPOSITORY of each."""
        return [
            (root, f"{publisher}/{repository}")
            for root in self.folders()
            for publisher in names_below(root)
            for repository in names_below(root / publisher)
        ]

    def _model(self, name: str, folder: Path, parts: list[str]) -> StoredModel:
        size, changed = facts_of([folder / part for part in parts])
        return StoredModel(self.title, name, folder / parts[0], size, changed)


STORE = LMStudio()

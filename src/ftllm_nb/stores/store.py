"""What a store of another tool is, and a model in it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftllm_nb.hub import gguf_files


@dataclass(frozen=True)
class StoredModel:
    """A model in a store.

    `name`: what the tool calls it; `path`: its GGUF file, the first of a split one; `size`: bytes; `changed`: seconds
    since the epoch. `problem`: a sentence on why it cannot be used, "" for one that can. `generation`: what the tool
    has for it of generation_config.json's entries, and `stops`: texts at which its answers end. `unused`: sentences on
    what the tool would do with it and ftllm-nb does not.
    """

    store: str
    name: str
    path: Path
    size: int = 0
    changed: float = 0.0
    problem: str = ""
    generation: Mapping[str, Any] = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


class Store(ABC):
    """Where a tool keeps models. `title`: what people call the tool."""

    title: str

    @abstractmethod
    def folders(self) -> list[Path]:
        """Where it keeps them, whether there is anything or not."""

    @abstractmethod
    def models(self) -> list[StoredModel]:
        """All of them, by name; [] where the tool is not used."""

    def find(self, name: str) -> StoredModel | None:
        """The model that the tool calls so, in any case; None where there is none."""
        wanted = {each.lower() for each in self.spellings(name)}
        return next((model for model in self.models() if model.name.lower() in wanted), None)

    def spellings(self, name: str) -> list[str]:
        """The names in `models` that a name may stand for."""
        return [name]


def home(*parts: str) -> Path:
    """A path below the user's home."""
    return Path(os.path.expanduser("~"), *parts)


def names_below(folder: Path) -> list[str]:
    """The sorted names in a folder; [] where it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def files_below(folder: Path) -> list[str]:
    """Files anywhere below a folder, by their sorted paths from there, with slashes."""
    found = []
    for place, _, names in os.walk(folder):
        found += [Path(place, name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def gguf_groups(names: list[str]) -> list[list[str]]:
    """The models among a folder's files: of each its GGUF files, the parts of a split one in their order."""
    groups: list[list[str]] = []
    for name in sorted(names):
        parts = gguf_files(names, name)
        if parts and parts not in groups:
            groups.append(parts)
    return groups


def facts_of(paths: list[Path]) -> tuple[int, float]:
    """The bytes of some files, and when the first was changed; what is gone counts as nothing."""
    stats = []
    for path in paths:
        try:
            stats.append(path.stat())
        except OSError:
            continue
    return sum(each.st_size for each in stats), stats[0].st_mtime if stats else 0.0

"""Which files a model is made of, as far as a later run must find the same."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ftllm_nb.checkpoint.files import list_folder


def stored_files(model: Path) -> list[tuple[str, int, int]]:
    """(name, size, time of the last change) of a folder's files of weights, or of the file that a model is."""
    if not stat.S_ISDIR(os.stat(model).st_mode):
        entry = os.stat(model)
        return [(model.name, entry.st_size, entry.st_mtime_ns)]
    return [
        (name, entry.st_size, entry.st_mtime_ns)
        for name in list_folder(model)
        if name.endswith(".safetensors")
        for entry in [os.stat(model / name)]
    ]

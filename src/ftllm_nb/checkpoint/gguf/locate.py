"""Where a path leads to a model in GGUF: a file, or a folder that holds one and no other model."""

from __future__ import annotations

import stat
from pathlib import Path

from ftllm_nb.checkpoint.files import file_mode, list_folder, shown
from ftllm_nb.checkpoint.gguf.file import SPLIT_NAME
from ftllm_nb.checkpoint.gguf.header import MAGIC
from ftllm_nb.errors import CheckpointError

SUFFIX = ".gguf"
_BESIDE_MODELS = ("mmproj", "imatrix")
"""What the names of files begin with, or have after a sign, that lie beside a model and are none."""
_OTHER_WEIGHTS = (".safetensors", "model.safetensors.index.json")


def gguf_at(path: Path) -> Path | None:
    """The GGUF file that a path is, or that its folder holds; the first of a split model. None where there is none.

    Raises `CheckpointError` where a folder holds several.
    """
    mode = file_mode(path)
    if mode is None:
        return None
    if not stat.S_ISDIR(mode):
        return path if path.suffix.lower() == SUFFIX or has_magic(path, mode) else None
    names = list_folder(path)
    if any(name.endswith(_OTHER_WEIGHTS) for name in names):
        return None
    models = [name for name in names if name.lower().endswith(SUFFIX) and not _is_beside(name)]
    firsts = [name for name in models if (split := SPLIT_NAME.fullmatch(name)) is None or int(split["number"]) == 1]
    if not firsts:
        return path / models[0] if models else None
    if len(firsts) > 1:
        listed = ", ".join(shown(name) for name in firsts[:3]) + (", …" if len(firsts) > 3 else "")
        raise CheckpointError(f"{path} holds {len(firsts)} models in GGUF ({listed}): give the path of one of them.")
    return path / firsts[0]


def _is_beside(name: str) -> bool:
    """Whether a file's name says that it holds no model."""
    words = name.lower().replace("-", " ").replace("_", " ").replace(".", " ").split()
    return any(word in words for word in _BESIDE_MODELS)


def has_magic(path: Path, mode: int) -> bool:
    """Whether what lies there, of this mode, is a file that begins as GGUF files do."""
    if not stat.S_ISREG(mode):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False

"""Where a quantized copy goes: what it must not replace, and whether the disk has room for it."""

from __future__ import annotations

import fnmatch
import os
import shutil
from pathlib import Path

from ftllm_nb.checkpoint.files import list_folder, reason
from ftllm_nb.checkpoint.gguf.locate import SUFFIX as GGUF_SUFFIX
from ftllm_nb.checkpoint.gguf.locate import has_magic
from ftllm_nb.errors import OutputError, UsageError
from ftllm_nb.quantization.folder_files import CONFIG, COPIED
from ftllm_nb.quantization.partial import replaced_path

_PARTS_OF_MODELS = (
    *COPIED, "*.json", "*.safetensors", "*.bin", "*.model", "*.py", "README.md", ".gitattributes",
)  # fmt: skip
"""Files that may go with a folder that is replaced."""


def check_place(out: Path, model: Path, replace: bool) -> None:
    """Raise `UsageError` where `out`, an absolute path, cannot be made, or would replace what it must not."""
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is no folder: make it first, or name another -o.")
    if not os.path.lexists(out):
        return
    if not out.is_dir() or out.is_symlink():
        raise UsageError(f"{out} exists, and is no folder: name another -o.")
    if not replace:
        raise UsageError(f"{out} exists: name another -o, or let --force replace it.")
    # A model may be a folder of links to files elsewhere.
    read = [model, *(model / name for name in (list_folder(model) if model.is_dir() else ()))]
    if any(path.resolve().is_relative_to(out.resolve()) for path in read):
        raise UsageError(f"{out} holds the model that is to be quantized: name another -o.")
    if os.path.lexists(replaced_path(out)):
        raise UsageError(f"{replaced_path(out)}, what {out} would be called for a moment, exists: rename that first.")
    names = list_folder(out)
    if names and CONFIG not in names:
        raise UsageError(f"{out} is no model's folder, which --force would replace: name another -o.")
    for name in names:
        is_part = any(fnmatch.fnmatch(name, pattern) for pattern in _PARTS_OF_MODELS) and not (out / name).is_dir()
        if not is_part:
            raise UsageError(
                f'{out} holds "{name}", which is no part of a model and would be lost with --force: move it away, or '
                "name another -o."
            )


def check_file_place(out: Path, model: Path, replace: bool) -> None:
    """Raise `UsageError` where the file `out`, an absolute path, cannot be made, or would replace what it must not."""
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is no folder: make it first, or name another -o.")
    if out.suffix.lower() != GGUF_SUFFIX:
        raise UsageError(f"-o {out.name} is no name of a GGUF file: it must end in {GGUF_SUFFIX}.")
    if not os.path.lexists(out):
        return
    if not out.is_file() or out.is_symlink():
        raise UsageError(f"{out} exists, and is no file: name another -o.")
    if not replace:
        raise UsageError(f"{out} exists: name another -o, or let --force replace it.")
    own = model.resolve() in (out.resolve(), out.resolve().parent)
    if own or not has_magic(out, out.stat().st_mode):
        raise UsageError(f"{out} is a part of the model that is to be quantized, or no GGUF file: name another -o.")


def check_room(partial: Path, needed: int) -> None:
    """Raise `OutputError` where the disk has no room for so many bytes; those of an unfinished run count as free."""
    try:
        free = shutil.disk_usage(partial.parent).free
    except OSError as error:
        raise OutputError(f"{partial.parent} cannot be used: {reason(error)}.") from None
    kept = sum(_taken(file) for file in partial.iterdir()) if partial.is_dir() else 0
    if needed > free + kept:
        raise OutputError(
            f"{partial.parent} has no room: {needed / 1e6:,.1f} MB are needed and {(free + kept) / 1e6:,.1f} MB are "
            "free; free some, or name another place with -o."
        )


def _taken(file: Path) -> int:
    """Bytes that a file takes on the disk, 0 where the system does not say."""
    return 512 * getattr(file.stat(), "st_blocks", 0)

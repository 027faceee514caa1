"""A reference's values in a file: what is compared with where torch is not installed.

An .npz file of NumPy: each array in float16 as a part of its largest number, and a text in JSON that says whose they
are.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.errors import OutputError, UsageError
from ftllm_nb.verification.reference import FLOAT16, Recording, Reference

_VERSION = 1
_ABOUT = "about"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)


def save(reference: Reference, path: Path) -> None:
    """Write the file, whole or not at all. Raises `OutputError` where one is there already or none can be."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, recording in enumerate(reference.recordings):
        arrays[f"{number}/tokens"] = recording.token_ids
        for name, array in (("logits", recording.logits), *recording.values.items()):
            largest = float(np.abs(array, where=np.isfinite(array), out=np.zeros_like(array)).max(initial=0)) or 1.0
            arrays[f"{number}/{name}"] = (array / np.float32(largest)).astype(np.float16)
            arrays[f"{number}/{name}/largest"] = np.array(largest, np.float32)
    about = {
        "version": _VERSION, "name": reference.name, "modules": reference.modules, "leaves": reference.leaves,
        "prefill": reference.prefill, "attention": reference.attention, "model": reference.model,
    }  # fmt: skip
    arrays[_ABOUT] = np.array(json.dumps(about))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    require_free(path)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.getvalue())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def require_free(path: Path) -> None:
    """Raise `OutputError` for a place that a file of values cannot have."""
    if path.suffix != ".npz":
        raise OutputError(f"{path} is no name of a file of values: let it end with .npz.")
    if os.path.lexists(path):
        raise OutputError(f"{path} exists: name another file, or remove it.")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} of {path.name} does not exist: make it first.")


def load(path: Path) -> Reference:
    """The reference of a file that `save` wrote. Raises `UsageError` for any other."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _reference({name: arrays[name] for name in arrays.files})
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}: --save writes one where transformers is installed.") from None
    except _DAMAGED as error:
        raise UsageError(
            f"{path} is no file of values that `ftllm-nb verify --save` wrote, or is damaged: write it again."
        ) from error


def _reference(arrays: dict[str, NDArray[Any]]) -> Reference:
    about = json.loads(str(arrays.pop(_ABOUT)))
    if about["version"] != _VERSION:
        raise ValueError("another version")
    recordings = []
    for number in range(sum(name.endswith("/tokens") for name in arrays)):
        start = f"{number}/"
        names = [name for name in arrays if name.startswith(start) and not name.endswith(("/tokens", "/largest"))]
        values = {
            name.removeprefix(start): arrays[name].astype(np.float32) * np.float32(arrays[f"{name}/largest"])
            for name in names
        }
        recordings.append(Recording(arrays[f"{start}tokens"].astype(np.int32), values.pop("logits"), values))
    if not recordings:
        raise ValueError("no text")
    return Reference(
        name=f"{about['name']}, from a file", modules=about["modules"], leaves=about["leaves"], recordings=recordings,
        prefill=int(about["prefill"]), attention=about["attention"], precision=FLOAT16, model=about["model"],
    )  # fmt: skip

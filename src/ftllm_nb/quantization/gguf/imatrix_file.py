"""llama.cpp's files of importance: the mean squares of what a model's matrices are multiplied by, in both of its forms.

Tensors have the names that GGUF gives them. The older form is a list of entries, the newer one a GGUF file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.files import reason
from ftllm_nb.checkpoint.gguf.draft import DraftFile
from ftllm_nb.checkpoint.gguf.file import read_gguf
from ftllm_nb.errors import CheckpointError, UsageError
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.gguf.model import outgoing
from ftllm_nb.quantization.methods import method_module
from ftllm_nb.quantization.partial import writing

ENDINGS = (".imatrix", ".dat", ".gguf")
"""Of the names of such files."""
_MAGIC = b"GGUF"
_LONGEST_NAME = 256
_SUMS, _COUNTS = ".in_sum2", ".counts"

_NOT_COVERED = ("token_embd.weight", "output.weight")
"""Tensors of which such files may say nothing."""

Importance = dict[str, NDArray[np.float32]]
"""Of each tensor the mean square of each of its inputs, [columns]."""


def read_imatrix(path: Path) -> Importance:
    """What the file holds. Raises `UsageError` where it cannot be read or is none."""
    try:
        with open(path, "rb") as file:
            is_gguf = file.read(4) == _MAGIC
        found = dict(_gguf_entries(path) if is_gguf else _entries(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"the importance matrix {path} cannot be read: {reason(error)}.") from None
    except (struct.error, UnicodeDecodeError, ValueError, CheckpointError):
        found = {}
    if not found or not all(np.isfinite(values).all() and (values >= 0).all() for values in found.values()):
        raise UsageError(f"{path} is no importance matrix, as llama-imatrix writes them, or it is damaged.")
    return found


def is_imatrix(source: str | None) -> bool:
    """Whether what `--calibration` names is such a file, by its name."""
    return source is not None and source.lower().endswith(ENDINGS)


def importance_of(path: str, method: str, tokens: int | None, columns: Mapping[str, int]) -> Importance:
    """What a file says of tensors that have so many columns, by their names in files. Raises `UsageError` where it is
    another model's, where the method wants more, or where `--calibration_tokens` is given."""
    if method_module(method).NEEDS_PRODUCTS:
        raise UsageError(
            f"--method {method} needs a text: {path} says how large inputs are, not how they go together."
        )
    if tokens is not None:
        raise UsageError(f"--calibration_tokens is of a text, and {path} is an importance matrix: leave it out.")
    found = read_imatrix(Path(path))
    require_of_model(path, found, columns)
    return found


def moments_of(squares: NDArray[np.float32]) -> Moments:
    """The moments of one input with these mean squares."""
    moments = Moments(len(squares), False, 1)
    moments.squares = squares.astype(np.float64)
    return moments


def file_names(checkpoint: Checkpoint, graph: CheckedGraph) -> dict[str, str]:
    """What a GGUF file calls the model's tensors, of those that it has as they are. Raises `CheckpointError` for an
    architecture that has no such file here."""
    model = outgoing(checkpoint, graph)
    named = {name: model.architecture.file_name(name) for name in model.sources}
    return {source.tensor: named[name] for name, source in model.sources.items() if named[name] != name}


def write_imatrix(path: Path, found: Mapping[str, Moments], text: str, window: int) -> None:
    """Write a file of the newer form, beside and then renamed. `found`: by the names in files; `text`: what inputs
    were made of. Raises `OutputError` where it cannot be written."""
    contents = {}
    for name, moments in found.items():
        contents[name + _SUMS] = moments.squares.astype(np.float32)[None]
        contents[name + _COUNTS] = np.array([[moments.count]], np.float32)
    tokens = max((moments.count for moments in found.values()), default=0)
    metadata = {
        "general.type": "imatrix", "imatrix.datasets": [text], "imatrix.chunk_count": tokens // window,
        "imatrix.chunk_size": window,
    }  # fmt: skip
    shapes = {name: ("F32", values.shape) for name, values in contents.items()}
    draft = DraftFile(path, metadata, shapes, contents)
    content = bytearray(draft.header.ljust(draft.size, b"\0"))
    for name, tensor in draft.tensors.items():
        content[tensor.start : tensor.start + tensor.nbytes] = draft.bytes_of(name).tobytes()
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        partial.write_bytes(content)
        os.replace(partial, path)


def require_of_model(path: object, importance: Importance, columns: Mapping[str, int]) -> None:
    """Raise `UsageError` unless the file says something of each of these tensors, with so many columns."""
    for name, size in columns.items():
        found = importance.get(name)
        if (found is None and name not in _NOT_COVERED) or (found is not None and len(found) != size):
            said = f"nothing of {name}" if found is None else f"{len(found)} inputs of {name}, which has {size}"
            raise UsageError(f"{path} is the importance matrix of another model: it has {said}.")


def _entries(content: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Of the older form: a count, then names with sums and how many passes they are of."""
    (count,), at = struct.unpack_from("<i", content), 4
    for _ in range(count):
        (size,) = struct.unpack_from("<i", content, at)
        if not 0 < size <= _LONGEST_NAME:
            raise ValueError
        name = content[at + 4 : at + 4 + size].decode()
        passes, columns = struct.unpack_from("<ii", content, at + 4 + size)
        at += 12 + size
        if columns <= 0 or at + 4 * columns > len(content):
            raise ValueError
        sums = np.frombuffer(content, "<f4", columns, at)
        yield name, (sums / max(passes, 1)).astype(np.float32)
        at += 4 * columns


def _gguf_entries(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Of the newer form: two tensors for each, of sums and of how many inputs they are of."""
    with closing(read_gguf(path)) as file:
        for name in file.tensors:
            if name.endswith(_SUMS):
                tensor = name.removesuffix(_SUMS)
                sums, counts = (file.bytes_of(each).view("<f4") for each in (name, tensor + _COUNTS))
                if len(counts) == 1:  # a stack of experts has several, whose columns are not told apart here
                    yield tensor, (sums / np.maximum(counts, np.float32(1))).astype(np.float32)

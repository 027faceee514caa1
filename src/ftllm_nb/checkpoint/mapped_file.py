"""A file of tensors mapped into memory: arrays on it without a copy, and its pages given back."""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.files import open_regular, reason, shown
from ftllm_nb.errors import CheckpointError

_FAULT_AROUND = 2 << 20
"""Bytes that one page fault may bring in before or after the page (Linux maps a whole large folio)."""
_DONTNEED: int | None = getattr(mmap, "MADV_DONTNEED", None)


class MappedFile:
    """A regular file, mapped for reading.

    size        bytes, when it was opened
    content     the bytes, for reading a header; ends with `close`
    """

    def __init__(self, path: Path) -> None:
        """Map the file; CheckpointError says why it cannot be."""
        self.path = path
        with open_regular(path) as file:
            try:
                status = os.fstat(file.fileno())
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                why = reason(error) if isinstance(error, OSError) else "it changed while it was opened"
                raise CheckpointError(f"{path} cannot be mapped into memory: {why}.") from None
        self.size = len(mapped)
        self._identity = status.st_dev, status.st_ino
        self._written = status.st_mtime_ns
        self._map: mmap.mmap | None = mapped

    @property
    def content(self) -> mmap.mmap:
        """The mapping itself."""
        if self._map is None:
            raise CheckpointError(f"{self.path} was closed.")
        return self._map

    def require_unchanged(self) -> None:
        """Raise CheckpointError if the file was written since it was opened: arrays on it may have other numbers, and
        the end of a shorter one would end the process. One that was replaced by another is still mapped as it was."""
        if self.content.size() < self.size:
            raise self._shorter()
        with contextlib.suppress(OSError):  # it is there no more, or its folder
            found = os.stat(self.path)
            if (found.st_dev, found.st_ino) == self._identity and found.st_mtime_ns != self._written:
                raise CheckpointError(f"{self.path} was written while it was in use: load the model again.")

    def require_open(self, name: str) -> None:
        """Raise CheckpointError if the file was closed; `name`: the tensor that was asked for."""
        if self._map is None:
            raise CheckpointError(f"{self.path} was closed, so {shown(name)} cannot be read from it.")

    def array(self, shape: tuple[int, ...], array_type: str, start: int) -> NDArray[Any]:
        """A read-only array of the bytes from `start` on, without a copy unless its address does not suit its type."""
        mapped = self.content
        if mapped.size() < self.size:  # touching a page beyond the end would kill the process
            raise self._shorter()
        # A memoryview holds the mapping open; an array on the mmap itself would not.
        array: NDArray[Any] = np.ndarray(shape, array_type, buffer=memoryview(mapped), offset=start)
        if array.flags.aligned:
            return array
        array = array.copy()
        array.flags.writeable = False
        return array

    def read_into(self, start: int, target: NDArray[np.uint8]) -> None:
        """Copy the bytes from `start` on from the file itself, past the mapping."""
        with open_regular(self.path) as file:
            try:
                file.seek(start)
                count = file.readinto(target.reshape(-1).data)  # type: ignore[attr-defined]  # a binary file has it
            except OSError as error:
                raise CheckpointError(f"{self.path} cannot be read: {reason(error)}.") from None
        if count < target.size:
            raise self._shorter()

    def release(self, start: int, nbytes: int) -> None:
        """Give back the pages of a part, and those that page faults brought in around it.

        The neighbours' pages, where they are still wanted, come back from the page cache; left alone, what
        the reading of many small tensors brings in around them would add up to the whole file.
        """
        if _DONTNEED is None or self._map is None or nbytes == 0:
            return
        begin = max(0, start - _FAULT_AROUND) // mmap.PAGESIZE * mmap.PAGESIZE
        end = min(self.size, start + nbytes + _FAULT_AROUND)
        with contextlib.suppress(OSError):  # locked pages stay
            self._map.madvise(_DONTNEED, begin, end - begin)

    def close(self) -> None:
        """Let go of the mapping; the last of the arrays that were read from it unmaps the file."""
        self._map = None

    def _shorter(self) -> CheckpointError:
        return CheckpointError(f"{self.path} became shorter while it was in use: download the file again.")

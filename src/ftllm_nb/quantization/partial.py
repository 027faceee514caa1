"""The folder that a run writes beside OUT: nothing in it loads before it is whole, and a later run can go on with it.
Where OUT is a file, it is made in such a folder, too.

While a run writes, OUT.partial holds the files with tensors, without the configuration that would make them a model,
and a journal: a line that says what is being made, then one for each tensor that is done, with checksums of what was
written. A killed run leaves that; `resume` believes no line whose checksums the files do not bear out. In the end the
configuration is written, the index last, the folder is renamed, and the journal is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.checksum import MODULUS, checksum
from ftllm_nb.checkpoint.files import reason
from ftllm_nb.checkpoint.recognise import INDEX_FILE
from ftllm_nb.errors import OutputError, UsageError
from ftllm_nb.quantization.shards import Layout

try:
    import fcntl
except ImportError:  # no such locks on this system: nothing keeps two runs out of one folder
    fcntl = None  # type: ignore[assignment]

SUFFIX, REPLACED = ".partial", ".replaced"
"""What the folder is called beside OUT while it is written; what a replaced OUT is called for a moment."""
JOURNAL = "quantize.journal"
DISK_BLOCK = 4096
"""Bytes; what most file systems give out at once."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_CHECKED_AT_ONCE = 16 << 20


class NoRoomError(OutputError):
    """The disk became full."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the system at writing there into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise NoRoomError(
                f"{path.parent} has no room left ({reason(error)}): free some, or name another place with -o."
            ) from None
        raise OutputError(f"{path} cannot be written: {reason(error)}.") from None


def partial_path(out: Path) -> Path:
    """The folder that is written in place of OUT until it is whole."""
    return out.with_name(out.name + SUFFIX)


def replaced_path(out: Path) -> Path:
    """The folder that OUT becomes for the moment in which another takes its name."""
    return out.with_name(out.name + REPLACED)


def _complete_lines(journal: bytes) -> list[dict[str, Any]]:
    """The lines up to the first that is not whole."""
    lines = []
    for line in journal.split(b"\n")[:-1]:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


class PartialFolder:
    """OUT.partial, locked against other runs: `open` it, `write` tensors, then `complete` or `discard` it.

    `done`: the model's tensors that need not be made (again); `sums`: the checksums of their outputs.
    """

    def __init__(self, out: Path, layout: Layout, identity: str) -> None:
        self.out = out
        self.path = partial_path(out)
        self.done: set[str] = set()
        self.sums: dict[str, int] = {}
        self._layout = layout
        self._identity = identity
        self._places = {name: (shard.name, start) for shard in layout.shards for name, start in shard.starts.items()}
        self._unfinished: dict[str, int] = {}
        self._files: dict[str, IO[bytes]] = {}
        self._journal: IO[bytes] | None = None

    def open(self, resume: bool) -> None:
        """Begin, or go on where a run with the same `identity` stopped: `done` is what needs not be made again.

        Raises `UsageError` where another run is at work there, or where what lies there is something else.
        """
        with writing(self.path):
            self._require_own()
            self.path.mkdir(exist_ok=True)
            self._journal = open(self.path / JOURNAL, "a+b", buffering=0)
            self._lock()
            lines = _complete_lines((self.path / JOURNAL).read_bytes())
            if resume and lines:
                self._go_on(lines)
                return
        try:
            with writing(self.path):
                self._begin()
        except OutputError:
            self.discard()
            raise

    def _require_own(self) -> None:
        """Whatever else has this name is not to be written into, let alone deleted."""
        if not os.path.lexists(self.path):
            return
        names = os.listdir(self.path) if self.path.is_dir() and not self.path.is_symlink() else ["no folder"]
        if names and JOURNAL not in names:
            raise UsageError(f"{self.path}, where the work would be done, is something else: name another -o.")

    def _lock(self) -> None:
        if fcntl is None or self._journal is None:
            return
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise UsageError(f"another run is writing {self.path}: wait for its end, or name another -o.") from None

    def _begin(self) -> None:
        for entry in self.path.iterdir():
            if entry.name != JOURNAL:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        assert self._journal is not None
        self._journal.truncate(0)
        self._note({"identity": self._identity})
        for shard in self._layout.shards:
            self._open_file(shard.name, "w+b").write(shard.header)

    def _go_on(self, lines: list[dict[str, Any]]) -> None:
        first, *others = lines
        if first != {"identity": self._identity}:
            self.close()
            raise UsageError(
                f"{self.path} was begun from another model or with other flags: repeat those, or leave --resume out to "
                "begin anew."
            )
        for shard in self._layout.shards:
            file = self._open_file(shard.name, "r+b" if (self.path / shard.name).is_file() else "w+b")
            file.seek(0)
            file.write(shard.header)
        for line in others:
            if all(self._holds(name, size, total) for name, (size, total) in line["sums"].items()):
                self.done.add(line["tensor"])
                self.sums |= {name: total for name, (_, total) in line["sums"].items()}

    def _holds(self, name: str, size: int, expected: int) -> bool:
        """Whether the bytes of an output have that checksum."""
        shard, start = self._places[name]
        file, total, at = self._files[shard], 0, 0
        file.seek(start)
        while at < size:
            content = np.empty(min(size - at, _CHECKED_AT_ONCE), np.uint8)
            if file.readinto(content.data) < content.size:  # type: ignore[attr-defined]
                return False
            total, at = (total + checksum(content, at)) % MODULUS, at + content.size
        return total == expected

    def _open_file(self, name: str, mode: str) -> IO[bytes]:
        self._files[name] = open(self.path / name, mode, buffering=0)
        return self._files[name]

    def _note(self, line: Mapping[str, Any]) -> None:
        assert self._journal is not None
        self._journal.write(json.dumps(line).encode() + b"\n")

    def write(self, output: str, offset: int, content: NDArray[Any]) -> None:
        """Write bytes into an output tensor; those of one tensor come in order."""
        shard, start = self._places[output]
        file, stored = self._files[shard], np.ascontiguousarray(content).reshape(-1).view(np.uint8)
        self._unfinished[output] = (self._unfinished.get(output, 0) + checksum(stored, offset)) % MODULUS
        rest = stored.data
        with writing(self.path):
            file.seek(start + offset)
            while rest:
                rest = rest[file.write(rest) :]

    def finish(self, tensor: str, outputs: Mapping[str, int]) -> None:
        """Note that a tensor of the model is done: its outputs' names and sizes."""
        sums = {name: (size, self._unfinished.pop(name, 0)) for name, size in outputs.items()}
        with writing(self.path):
            self._note({"tensor": tensor, "sums": sums})
        self.done.add(tensor)
        self.sums |= {name: total for name, (_, total) in sums.items()}

    def copy(self, files: Mapping[str, Path]) -> None:
        """Put files, by their names here, beside the tensors."""
        with writing(self.path):
            for name, source in files.items():
                shutil.copyfile(source, self.path / name)

    def complete(self, texts: Mapping[str, bytes], replace: bool) -> None:
        """Write the configuration, the index last, and rename the folder, or its file, to OUT, which `replace` allows
        to
        exist."""
        with writing(self.path):
            index = {} if self._layout.index is None else {INDEX_FILE: self._layout.index.encode()}
            for name, text in {**texts, **index}.items():
                (self.path / name).write_bytes(text)
            for shard in self._layout.shards:
                os.fsync(self._files[shard.name].fileno())
            if self._layout.is_file:
                (self.path / self._layout.shards[0].name).replace(self.out)
                shutil.rmtree(self.path)
                return
            replaced = replaced_path(self.out)
            if replace and self.out.exists():
                self.out.rename(replaced)
            self.path.rename(self.out)
            (self.out / JOURNAL).unlink()
            if replace and replaced.exists():
                shutil.rmtree(replaced)

    def discard(self) -> None:
        """Delete what was written."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Close the files and let other runs in."""
        for file in (*self._files.values(), self._journal):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
        self._files.clear()
        self._journal = None

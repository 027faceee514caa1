"""How much memory this process may still take: of the machine, within its control groups and its own limits.

Linux says so in files; elsewhere nothing is known, and None is the answer. `root` stands for "/", so that tests can lay
out a machine in a folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftllm_nb.control_groups import ROOT, fields, own_groups, read

_UNLIMITED = 1 << 60
"""Version 1 writes a number near 2**63 where there is no limit."""


@dataclass(frozen=True)
class OwnLimit:
    """A limit that the process was started with: the flag of ulimit that sets it, its bytes, and what it leaves."""

    flag: str
    bytes: int
    room: int

    @property
    def command(self) -> str:
        """What sets it in a shell."""
        return f"ulimit {self.flag} {self.bytes >> 10}"


def available_bytes(root: Path = ROOT) -> int | None:
    """Memory that may be taken while everything else goes on as it does; None where the system does not say.

    What a group holds of files can be given back at once, as the system's own figure takes it. `memory.high` counts as
    a limit: beyond it, a group is slowed down.
    """
    sizes = [_system_bytes("MemAvailable", root), *(limit.room for limit in own_limits(root))]
    for folder in own_groups("memory", root):
        limit = _smallest(folder, "memory.max", "memory.high", "memory.limit_in_bytes")
        sizes.append(None if limit is None else limit - _held_bytes(folder))
    return _least(sizes)


def obtainable_bytes(root: Path = ROOT) -> int | None:
    """More than this the process cannot get, as other programs' pages go to swap space; None where nobody says."""
    return _least([system_obtainable_bytes(root), *(limit.room for limit in own_limits(root))])


def system_obtainable_bytes(root: Path = ROOT) -> int | None:
    """`obtainable_bytes` but for the process' own limits, which count address space rather than memory."""
    free, swap = _system_bytes("MemAvailable", root), _system_bytes("SwapFree", root) or 0
    sizes = [None if free is None else free + swap]
    for folder in own_groups("memory", root):
        limit = _smallest(folder, "memory.max", "memory.limit_in_bytes")
        sizes.append(None if limit is None else limit - _held_bytes(folder) + min(swap, _swap_room(folder)))
    return _least(sizes)


def _least(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return max(0, min(known)) if known else None


def _smallest(folder: Path, *names: str) -> int | None:
    limits = [_number(folder / name) for name in names]
    return min((limit for limit in limits if limit is not None), default=None)


def _held_bytes(folder: Path) -> int:
    """What a group holds and cannot give back: all but pages of files."""
    used = _number(folder / "memory.current")
    if used is None:
        used = _number(folder / "memory.usage_in_bytes") or 0
    kinds = fields(read(folder / "memory.stat"))
    prefix = "total_" if "total_inactive_file" in kinds else ""  # version 1 counts the groups within only so
    files = sum(_whole(kinds.get(f"{prefix}{kind}", "")) or 0 for kind in ("inactive_file", "active_file"))
    return max(0, used - files)


def _swap_room(folder: Path) -> int:
    """What a group may still put into swap space."""
    most = _number(folder / "memory.swap.max")  # version 2
    if most is not None:
        return max(0, most - (_number(folder / "memory.swap.current") or 0))
    both = _number(folder / "memory.memsw.limit_in_bytes")  # version 1: memory and swap space together
    limit = _number(folder / "memory.limit_in_bytes")
    return _UNLIMITED if both is None or limit is None else max(0, both - limit)


def own_limits(root: Path = ROOT) -> list[OwnLimit]:
    """What ulimit -v leaves of the address space, and ulimit -d of data; [] where there is no limit."""
    held = fields(read(root / "proc/self/status"))
    limits = []
    for line in read(root / "proc/self/limits").splitlines():
        for name, used, flag in (("Max address space", "VmSize", "-v"), ("Max data size", "VmData", "-d")):
            if line.startswith(name) and (soft := _whole(line.removeprefix(name).split()[0])) is not None:
                limits.append(OwnLimit(flag, soft, soft - (_kilobytes(held.get(used, "")) or 0)))
    return limits


def _system_bytes(field: str, root: Path) -> int | None:
    """A field of Linux' description of its memory."""
    return _kilobytes(fields(read(root / "proc/meminfo")).get(field, ""))


def _kilobytes(text: str) -> int | None:
    number = _whole(text.removesuffix("kB").strip())
    return None if number is None else number << 10


def _number(path: Path) -> int | None:
    """A size that a control group names; None where there is none, or no limit."""
    number = _whole(read(path))
    return None if number is None or number >= _UNLIMITED else number


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None

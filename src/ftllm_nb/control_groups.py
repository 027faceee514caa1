"""The control groups (cgroups(7), versions 1 and 2) that may limit this process, as Linux describes them in files.

`root` stands for "/", so that tests can lay out a machine in a folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def own_groups(controller: str, root: Path = ROOT) -> Iterator[Path]:
    """Folders of the groups that a controller ("cpu", "memory") may limit this process by, each before those around it.

    A group's limit holds for all groups in it: who asks for one has to look at each of the folders.
    """
    memberships = {}
    for line in read(root / "proc/self/cgroup").splitlines():
        # "4:cpu,cpuacct:/path" in version 1, "0::/path" in version 2.
        _, _, membership = line.partition(":")
        controllers, _, path = membership.partition(":")
        memberships.update(dict.fromkeys(controllers.split(","), path))
    for line in read(root / "proc/self/mountinfo").splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.partition(" ")
        is_version_2 = kind == "cgroup2"
        if not is_version_2 and (kind != "cgroup" or controller not in options.split(" ")[-1].split(",")):
            continue
        own_path = memberships.get("" if is_version_2 else controller)
        if not own_path:
            continue
        mounted, mount_point = mount.split(" ")[3:5]
        # In a container, a part of the hierarchy may be mounted, and the group may lie outside of it.
        relative = PurePosixPath(os.path.relpath(own_path, mounted))
        if ".." in relative.parts:
            relative = PurePosixPath()
        folder = root / mount_point.lstrip("/")
        for part in (relative, *relative.parents):
            yield folder / part


def read(path: Path) -> str:
    """The text of one of the system's files, "" where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def fields(text: str) -> dict[str, str]:
    """The lines of one of the system's files, "NAME: VALUE" or "NAME VALUE", by name."""
    pairs = (line.replace(":", " ", 1).split(None, 1) for line in text.splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}

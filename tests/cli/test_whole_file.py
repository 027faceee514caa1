"""Files that are written whole."""

from __future__ import annotations

import resource
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ftllm_nb.cli.picture_file import write_picture
from ftllm_nb.cli.whole_file import write_whole
from ftllm_nb.errors import UsageError


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let the system refuse to make files larger, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    old, new = tmp_path / "old.svg", tmp_path / "new.svg"
    old.write_text("<svg>old</svg>")
    with no_file_beyond(100):
        for path in (old, new):
            with pytest.raises(UsageError, match=r"the picture .*\.svg cannot be written: File too large"):
                write_picture(str(path), b"x" * 1000)
    assert old.read_text() == "<svg>old</svg>"
    assert list(tmp_path.iterdir()) == [old]


def test_modes_stay_and_links_are_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_whole(link, "new", 0o600)
    write_whole(tmp_path / "fresh", "text", 0o604)
    assert link.is_symlink() and target.read_text() == "new"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (target, tmp_path / "fresh")] == [0o640, 0o604]


@pytest.mark.skipif(sys.platform != "linux", reason="no such device")
def test_a_device_is_written_to() -> None:
    write_whole("/dev/null", "text", 0o600)
    with pytest.raises(OSError, match="No space left"):
        write_whole("/dev/full", "text", 0o600)

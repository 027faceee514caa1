"""Compiled kernels on disk, so that only the first start compiles.

One file a kernel, in a directory that only its user may enter (its contents are run as machine code). The
directory's name is a hash of everything that compiled code depends on beside the kernel itself: the sources of
this package (kernels/), the versions of Python, Numba, llvmlite and NumPy, the CPU and the tier. The file's name
holds a hash of the kernel's own source file and of the files that it imports (see sources.py). So an edit, an
upgrade or another CPU finds no stale code.

File format: 8 bytes of magic, the SHA-256 of the rest, the length of the exported symbol, the symbol, then the object
code. Files are written beside and renamed: several processes that start
together each write the same whole file, and a damaged one is compiled again. No index, no lock, no pickle.

`FTLLM_NB_CACHE_DIR` moves the directory (default: `ftllm-nb` in the platform's cache folder).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import struct
import sys
import tempfile
from pathlib import Path

_MAGIC = b"FTLLMNB2"
_SIZE = struct.Struct("<Q")


def cache_root() -> Path:
    """The folder that holds everything that ftllm-nb caches for this user."""
    override = os.environ.get("FTLLM_NB_CACHE_DIR")
    if override:
        return Path(override)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ftllm-nb"
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ftllm-nb"


@functools.cache
def kernel_directory() -> Path | None:
    """Where this version's kernels lie, made if need be; None where no private folder can be had."""
    import llvmlite
    import llvmlite.binding as llvm
    import numba
    import numpy

    from ftllm_nb.kernels.tiers import current_tier, host_features

    digest = hashlib.sha256()
    for part in (sys.version, numba.__version__, llvmlite.__version__, numpy.__version__, current_tier().name):
        digest.update(part.encode() + b"\0")
    digest.update(llvm.get_host_cpu_name().encode() + ",".join(sorted(host_features())).encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    try:
        directory = cache_root() / "kernels" / digest.hexdigest()[:20]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid"):
            status = directory.stat()
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                return None
        return directory
    except (OSError, RuntimeError):
        return None


def load(name: str) -> tuple[str, bytes] | None:
    """(symbol, object code) as saved under `name`; None when absent or damaged."""
    directory = kernel_directory()
    if directory is None:
        return None
    try:
        content = (directory / f"{name}.kernel").read_bytes()
    except OSError:
        return None
    magic, digest, body = content[:8], content[8:40], content[40:]
    if magic != _MAGIC or hashlib.sha256(body).digest() != digest:
        return None
    (symbol_size,) = _SIZE.unpack_from(body)
    code = body[_SIZE.size :]
    return code[:symbol_size].decode(), code[symbol_size:]


def save(name: str, symbol: str, object_code: bytes) -> None:
    """Keep a compiled kernel; a cache that cannot be written is no error, the next start compiles again."""
    directory = kernel_directory()
    if directory is None:
        return
    body = _SIZE.pack(len(symbol.encode())) + symbol.encode() + object_code
    keep_file(directory / f"{name}.kernel", _MAGIC + hashlib.sha256(body).digest() + body)


def discard(name: str) -> None:
    """Take a kernel out, if it is there."""
    directory = kernel_directory()
    if directory is not None:
        with contextlib.suppress(OSError):
            (directory / f"{name}.kernel").unlink()


def keep_file(path: Path, content: bytes) -> None:
    """Write a file of the cache beside and rename it, if that can be done."""
    with contextlib.suppress(OSError):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def cache_summary() -> str:
    """Where this version's kernels lie, how many and how large they are, as a sentence's part."""
    directory = kernel_directory()
    if directory is None:
        return f"none: {cache_root()} cannot be used"
    sizes = [file.stat().st_size for file in directory.glob("*.kernel")]
    return f"{directory}, {len(sizes)} kernels, {sum(sizes) / 1e6:.1f} MB"

"""What a kernel is compiled from, as a hash: its own source file and the files that this one imports.

Users write kernels in files of their own, with helpers in files beside them. Numba compiles those helpers, and the
constants that a kernel reads, into the kernel: an edit there must change the hash as well as an edit in the kernel.

Imports are read from the source, wherever they stand in it, and followed as far as they are loaded. Not looked at
are packages whose change the cache directory's name tells: ftllm_nb (of which kernels may use kernels/ alone),
Numba, llvmlite, NumPy and the standard library. The file of any other installed package counts, but what it imports
in turn does not.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

_KNOWN_BY_VERSION = {"ftllm_nb", "llvmlite", "numba", "numpy", *sys.stdlib_module_names}
_INSTALLED = {"site-packages", "dist-packages"}


def source_digest(function: Callable[..., Any]) -> str | None:
    """A hash of all that the kernel is compiled from; None where a source cannot be read, as in a notebook."""
    own: Mapping[str, Any] = function.__globals__
    top = _top(own["__name__"])
    sources: dict[str, bytes] = {}
    waiting = [own, *_closed_over(function)]
    while waiting:
        module = waiting.pop()
        name, path = module["__name__"], module.get("__file__") or ""
        if name in sources or (module is not own and _top(name) in _KNOWN_BY_VERSION):
            continue
        if not path and "__path__" in module:  # a folder without __init__.py: there is nothing to read
            continue
        try:
            sources[name] = Path(path).read_bytes()
        except OSError:
            return None
        installed = not _INSTALLED.isdisjoint(Path(path).parts) and _top(name) != top
        if path.endswith(".py") and not installed and _top(name) not in _KNOWN_BY_VERSION:
            imported = _imports(sources[name], module.get("__package__") or "")
            waiting += (vars(sys.modules[each]) for each in imported if each in sys.modules)
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + hashlib.sha256(sources[name]).digest())
    return digest.hexdigest()[:16]


def _top(name: str) -> str:
    return name.partition(".")[0]


def _closed_over(function: Callable[..., Any]) -> Iterator[Mapping[str, Any]]:
    """The modules of the functions that a factory gave to the kernel."""
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a cell that is still empty
            name = getattr(cell.cell_contents, "__module__", None)
            if name in sys.modules:
                yield vars(sys.modules[name])


@functools.cache
def _imports(source: bytes, package: str) -> tuple[str, ...]:
    """The modules that may be meant by the imports of a source file, with the packages that they lie in."""
    found: dict[str, None] = {}
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            with contextlib.suppress(ImportError):  # a relative import outside of a package, caught by the file
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            if _top(name) not in _KNOWN_BY_VERSION:
                found |= dict.fromkeys(accumulate(name.split("."), lambda outer, inner: f"{outer}.{inner}"))
    return tuple(found)

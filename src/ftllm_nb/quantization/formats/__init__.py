"""Forms of what `ftllm-nb quantize` writes, one file each.

A file's name is the form's name, as `--format` takes it; the file holds one instance named `FORMAT` of a subclass of
`Output` (base.py), `OutputFormat` for folders. Its docstring's first line says what it is.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.quantization.formats.base import Output

DEFAULT = "compressed_tensors"
_SHARED = {"base"}


def output_formats() -> list[str]:
    """The names of all forms; nothing is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SHARED)


def output_format(name: str) -> Output:
    """The form of that name; raises `UsageError` that lists the known ones."""
    if name not in output_formats():
        raise UsageError(f"{name!r} is no form of a quantized model: use {' or '.join(output_formats())}.")
    format: Output = importlib.import_module(f"{__name__}.{name}").FORMAT
    return format

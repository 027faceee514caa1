"""Methods of quantization, one file each: how the scale and the zero point of a group of weights are chosen.

A file's name is the method's name, as `--method` takes it. Its docstring's first line says what it does. It defines
`rows_kernel`, a kernel that quantizes rows (kernels/quantize_rows.py), or, where it looks at what a calibration text
makes of the inputs, CALIBRATED = True, NEEDS_PRODUCTS, whether it wants their products (calibration/moments.py), and
`quantize_matrix(weights, moments, fitter)`: the levels' places, uint8 [rows, columns], and the scales of a matrix,
float32 [rows, columns], by what its type's fitter (grids.py) offers. For block types it has `importance(moments)`, how
much a column's squared error counts, float32 [columns], and, with NEEDS_PRODUCTS, `rounded(weights, moments, fitter,
lines)`, the places where it is given what levels stand for, and `refitted(weights, moments, units, scales)`, the scales
that fit best to levels, and ROUNDS, how often both are found; with more than one, `row_errors(off, moments)` and
`better_rows(new, old)` choose among them.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from ftllm_nb.errors import UsageError

DEFAULT = "mse"
UNCALIBRATED = "mse"
"""The method for matrices of which no calibration says what they are multiplied by."""


def methods() -> list[str]:
    """The names of all methods; nothing is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def method_module(name: str) -> Any:
    """The module of the method of that name; raises `UsageError` that lists the known ones."""
    if name not in methods():
        raise UsageError(f"{name!r} is no method of quantization: use {' or '.join(methods())}.")
    return importlib.import_module(f"{__name__}.{name}")


def is_calibrated(name: str) -> bool:
    """Whether the method needs a calibration text."""
    return bool(getattr(method_module(name), "CALIBRATED", False))

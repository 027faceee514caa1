"""Kernels around a user's function of one token's features.

The function gets NumPy arrays over the token's row of each tensor, whose shapes are constants of the machine code: a
loop over all of a row needs no checks of its indices, and sums along it are computed with vectors. What would leave an
array raises IndexError all the same, in the form in which a kernel can say so: a word that it sets.
"""

from __future__ import annotations

import hashlib
import inspect
import types as python_types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import carray, njit  # noqa: F401  (the generated code calls them)
from numba.core import types

from ftllm_nb.errors import GraphError
from ftllm_nb.kernels.compile import Kernel, does_not_compile
from ftllm_nb.kernels.emit import F32, emitted, pointer
from ftllm_nb.kernels.memory import load_i32, store_i64  # noqa: F401  (the generated code calls them)
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.step import argument, field, scalar, take_chunk  # noqa: F401  (the same)

PER_ROW = row_fields("count", "failed")
"""The first fields of a row: the step's field with the number of tokens, and the address of the word that becomes a
token's number, from 1, where the function raised. Then come those of the function's arguments."""

_OPTIONS = {
    "boundscheck": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},  # sums may be split; NaN and infinity stay what they are
    "forceinline": True,
}


@dataclass(frozen=True)
class RowArray:
    """A token's row, float32 of this shape. Fields: its address, bytes from token to token (0: one for all)."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class RowNumber:
    """A constant. Field: its value."""

    is_float: bool


@dataclass(frozen=True)
class RowId:
    """An int32 of each token. Field: the step's field that holds the address of all."""


Argument = RowArray | RowNumber | RowId | None
"""None: a tensor that a call leaves out."""


@emitted(types.CPointer(types.float32), types.int64)
def floats_at(builder, address):
    """An address as a pointer to float32."""
    return pointer(builder, address, F32)


class PerRowKernel(Kernel):
    """See `per_row_kernel`. `user`: the function; `given`: what it takes."""

    def __init__(self, user: Callable[..., Any], given: tuple[Argument, ...]) -> None:
        self.user = user
        self.given = given
        inlined = numba.njit(**_OPTIONS)(user)
        scope: dict[str, Any] = {}
        exec(_source(given), globals(), scope)
        function = scope["make"](inlined)
        function.__module__, function.__qualname__ = user.__module__, user.__qualname__
        super().__init__(function, variant=_variant(user, given))
        self.written_in = user

    def compile(self) -> None:
        """See `Kernel.compile`."""
        try:
            super().compile()
        except AttributeError as error:  # which Numba lets through for a module's function that does not exist
            raise self.explained(error) from error

    def explained(self, error: Exception) -> GraphError:
        """See `Kernel.explained`: of the user's function alone, so that the line is one of its file."""
        from numba.core.errors import NumbaError

        try:
            numba.njit(**_OPTIONS)(self.user).compile(tuple(map(_type_of, self.given)))
        except (NumbaError, AttributeError) as own:
            error = own
        return does_not_compile(self.user, error)


def per_row_kernel(user: Callable[..., Any], given: tuple[Argument, ...]) -> Kernel:
    """A kernel that calls `user` with these arguments for each token. A chunk is a token. Raises `GraphError` where
    the function reads what the cache of kernels cannot know."""
    return PerRowKernel(user, given)


def _source(given: tuple[Argument, ...]) -> str:
    parts, at = [], len(PER_ROW)
    for each in given:
        if isinstance(each, RowArray):
            address = f"argument(row, {at}) + token * argument(row, {at + 1})"
            parts.append(f"carray(floats_at({address}), {each.shape})")
            at += 2
        elif each is None:
            parts.append("None")
        else:
            number = f"load_i32(field(step, argument(row, {at})) + 4 * token)"
            if isinstance(each, RowNumber):
                number = f"{'scalar' if each.is_float else 'argument'}(row, {at})"
            parts.append(number)
            at += 1
    names = ", ".join(f"x{number}" for number in range(len(parts)))
    # The try is in a function of its own: in a loop, compiled by Python 3.13, Numba catches the first exception alone.
    return f"""
def make(function):
    @njit(forceinline=True)
    def fails({names}):
        try:
            function({names})
        except Exception:
            return True
        return False

    def rows(row, step, worker):
        num_tokens = field(step, argument(row, {PER_ROW.count}))
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            if fails({", ".join(parts)}):
                store_i64(argument(row, {PER_ROW.failed}), token + 1)
            token = take_chunk(worker, num_tokens)
    return rows
"""


def _type_of(each: Argument) -> Any:
    if isinstance(each, RowArray):
        return types.Array(types.float32, len(each.shape), "C")
    if isinstance(each, RowNumber) and each.is_float:
        return types.float32
    return types.none if each is None else types.int64


def _variant(user: Callable[..., Any], given: tuple[Argument, ...]) -> str:
    """What the machine code depends on beside sources: shapes, and the numbers that the function takes from outside."""
    return hashlib.sha256(repr((given, _outside(user))).encode()).hexdigest()[:12]


def _outside(user: Callable[..., Any]) -> list[tuple[str, str]]:
    """The constants that the function closes over or finds in its module, by name."""
    code = inspect.unwrap(user).__code__
    found = inspect.getclosurevars(user)
    values = []
    for name, value in sorted({**found.globals, **found.nonlocals}.items()):
        if isinstance(value, (bool, int, float, str, tuple, np.generic)):
            values.append((name, repr(value)))
        elif isinstance(value, np.ndarray):
            values.append((name, f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"))
        elif name in found.nonlocals and not callable(value) and not isinstance(value, python_types.ModuleType):
            raise GraphError(
                f'{user.__name__}() uses "{name}" of the function around it, {type(value).__name__}: only numbers, '
                "arrays and functions can be compiled into it.",
                code.co_filename,
                code.co_firstlineno,
            )
    return values

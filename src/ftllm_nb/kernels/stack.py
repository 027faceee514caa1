"""Memory on the stack of a function that kernels call."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from ftllm_nb.kernels.emit import I8, I64, emitted


def room(size: int) -> Any:
    """A function that gives the address of so many bytes on the stack, the same at every call in a function."""

    def room(b):
        return b.ptrtoint(cgutils.alloca_once(b, ir.ArrayType(I8, size)), I64)

    return emitted(types.int64)(room)

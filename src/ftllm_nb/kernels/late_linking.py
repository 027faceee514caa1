"""Functions that kernels call are compiled with the kernels, once.

By itself Numba optimizes each function, makes machine code of it, also for callers in Python, and does both again with
every function that calls it: a tile of a product, five calls deep in its kernel, six times. Within `linking_late` a
function of this package is lowered only, and what it calls is linked into the kernel as it was lowered; the kernel
alone is optimized as a whole. Functions of other packages, users' too, are compiled as always.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

_OURS = "ftllm_nb."
"""How the names of modules begin whose functions nobody calls from Python once a kernel has called them."""
_ANY_COPY = "linkonce_odr"
"""Linkage of a function of which several modules hold the same."""


class _LateLibrary(JITCodeLibrary):
    """A function's code, which is linked and compiled when it is needed, and not when it is called."""

    def add_linking_library(self, library: Any) -> None:
        """Note a library that this one calls."""
        if not isinstance(library, _LateLibrary):
            library._ensure_finalized()
        self._linking_libraries.append(library)

    def finalize(self) -> None:
        """Link all that is called, optimize and make machine code."""
        self._linking_libraries = list(self._called())
        self._shared_module = None
        super().finalize()

    def _called(self) -> dict[Any, None]:
        """The libraries that this one calls, and those that they do, unless these hold them already."""
        found: dict[Any, None] = {}
        waiting = list(self._linking_libraries)
        while waiting:
            library = waiting.pop(0)
            if library not in found:
                found[library] = None
                if not library._finalized:
                    waiting += library._linking_libraries
        return found

    def _get_module_for_linking(self) -> Any:
        """This library's own functions, for another one."""
        if self._finalized:
            return super()._get_module_for_linking()
        if self._shared_module is None:
            module = self._final_module.clone()
            for function in module.functions:
                if not function.is_declaration and function.linkage == llvm.Linkage.external:
                    function.linkage = _ANY_COPY
            self._shared_module = module
        return self._shared_module


@contextmanager
def linking_late(kernel: str) -> Iterator[None]:
    """Within this, functions that are compiled for the kernel of that qualified name are linked late."""
    context = cpu_target.target_context
    codegen = context.codegen()
    executable, wrap, wrap_for_c = (
        context.get_executable, context.create_cpython_wrapper, context.create_cfunc_wrapper,
    )  # fmt: skip

    def get_executable(library: Any, description: Any, environment: Any) -> Any:
        if not _is_ours(description):
            return executable(library, description, environment)
        # What Python would call, if somebody did: no code, as of Numba's own overloads.
        name = description.qualname.rpartition(".")[2]
        return _dynfunc.make_function(description.lookup_module(), name, "", 0, environment, (library,))

    def create_cpython_wrapper(library: Any, description: Any, *arguments: Any, **by_name: Any) -> None:
        if not _is_ours(description):
            wrap(library, description, *arguments, **by_name)

    def create_cfunc_wrapper(library: Any, description: Any, *arguments: Any, **by_name: Any) -> None:
        if not _is_ours(description) or description.qualname == kernel:
            wrap_for_c(library, description, *arguments, **by_name)

    with global_compiler_lock:
        codegen._library_class = _LateLibrary
        context.get_executable = get_executable
        context.create_cpython_wrapper = create_cpython_wrapper
        context.create_cfunc_wrapper = create_cfunc_wrapper
        try:
            yield
        finally:
            del codegen._library_class
            del context.get_executable, context.create_cpython_wrapper, context.create_cfunc_wrapper


def _is_ours(description: Any) -> bool:
    return str(description.modname).startswith(_OURS)

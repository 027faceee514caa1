"""`@kernel`: a Python function that Numba compiles on first use to a C function with an address.

A kernel's arguments and result are 64-bit integers or floats, most often `(row, step, worker)` addresses
(see step.py). It may use Numba's language, the intrinsics and inlined functions of ftllm_nb.kernels, what its own
module defines, and what this imports: the cache notices edits in those places and no others (see sources.py).
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.errors import EngineError, GraphError
from ftllm_nb.host_memory import own_limits
from ftllm_nb.kernels import cache
from ftllm_nb.kernels.forks import done_by_forks
from ftllm_nb.kernels.loop_choice import LoopChoice, loop_choice, trying
from ftllm_nb.kernels.sources import source_digest

_CTYPES: dict[str, Any] = {"int64": ctypes.c_int64, "float32": ctypes.c_float, "float64": ctypes.c_double, "void": None}
_LIBRARIES: list[Any] = []
"""Compiled machine code, kept for the life of the process: rows of programs hold its addresses."""
_REFERS_TO_RUNTIME = b"NRT_"
"""How the names of the functions begin that count references to Numba's memory."""
_LOCK = threading.RLock()
ROOM_TO_COMPILE = 64_000_000
"""Bytes of address space, and of data, that LLVM may ask for at once."""


class Kernel:
    """A function to compile, and its address once it is.

    `arguments` and `result` are names among int64, float32, float64 (and void). `variant` tells apart kernels
    that one factory makes from different literals; it must name every literal that the function closes over.
    `choice`: what its loops are like, if not as the machine has them.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: tuple[str, ...] = ("int64", "int64", "int64"),
        result: str = "void",
        variant: str = "",
        choice: LoopChoice | None = None,
    ) -> None:
        self.function = self.written_in = function
        self.arguments = arguments
        self.result = result
        self.choice = choice
        base = f"{function.__module__}.{function.__qualname__}".replace(".<locals>", "")
        self.name = re.sub(r"[^\w.]", "_", f"{base}.{variant}" if variant else base)
        self._address: int | None = None
        self._callable: Any = None

    def __repr__(self) -> str:
        return f"<Kernel {self.name}>"

    @property
    def is_ready(self) -> bool:
        """Whether the machine code is in memory."""
        return self._address is not None

    @property
    def address(self) -> int:
        """The address of the compiled C function; loads it from the cache, or compiles it."""
        if self._address is None:
            with _LOCK:
                if not self.load():
                    self.compile()
        assert self._address is not None
        return self._address

    def load(self) -> bool:
        """Whether the machine code is in memory, or was in the cache."""
        with _LOCK:
            if self._address is None:
                self._address = self._load()
        return self.is_ready

    def forget(self) -> None:
        """Take it from the cache; the machine code stays in memory."""
        if (name := self._cache_name()) is not None:
            cache.discard(name)

    def __call__(self, *arguments: Any) -> Any:
        """Run it from Python, with the interpreter lock released."""
        if self._callable is None:
            prototype = ctypes.CFUNCTYPE(_CTYPES[self.result], *(_CTYPES[name] for name in self.arguments))
            self._callable = prototype(self.address)
        return self._callable(*arguments)

    def _cache_name(self) -> str | None:
        """The name under which the cache keeps it; None where it cannot be known whether the source changed."""
        digest = source_digest(self.written_in)
        signature = "_".join((*self.arguments, self.result))
        code = (self.choice or loop_choice()).code()
        return None if digest is None else f"{self.name}-{signature}-{code}-{digest}"[-200:]

    def _load(self) -> int | None:
        from llvmlite.binding import ObjectFileRef
        from numba.core.registry import cpu_target
        from numba.core.runtime import rtsys

        name = self._cache_name()
        saved = None if name is None else cache.load(name)
        if saved is None:
            return None
        symbol, object_code = saved
        context = cpu_target.target_context
        # All that finished code may refer to. To refresh the context is to import all that code to be compiled may
        # need, which takes a third of a second.
        if b"hashsecret" in object_code:  # what hashes texts refers to symbols that Numba's own modules make
            context.refresh()
        if _REFERS_TO_RUNTIME in object_code:
            rtsys.initialize(context)
        # To Numba's library the code would come with its bitcode, which takes ten times as long to read.
        engine = context.codegen()._engine._ee
        engine.add_object_file(ObjectFileRef.from_data(object_code))
        engine.finalize_object()
        return int(engine.get_function_address(symbol)) or None

    def compile(self) -> None:
        """Compile it, and keep it in the cache where there is one."""
        from numba.core.errors import NumbaError

        require_room_to_compile()
        try:
            compiled = self._compiled()
        except NumbaError as error:
            if self.name.startswith("ftllm_nb."):
                raise
            raise self.explained(error) from error
        library = compiled._library
        _LIBRARIES.append(library)
        _, _, (object_code, _) = library.serialize_using_object_code()
        if (name := self._cache_name()) is not None:
            cache.save(name, compiled.native_name, object_code)
        self._address = int(compiled.address)

    def _compiled(self) -> Any:
        """What Numba makes of the function."""
        from numba import types
        from numba.core.ccallback import CFunc

        from ftllm_nb.kernels.late_linking import linking_late
        from ftllm_nb.kernels.tiers import current_tier

        _name_functions_apart(os.getpid())
        current_tier()  # a forced tier sets the code generator's target, before the first compilation
        function = self.function
        # The symbol's name comes from the qualified name: it must differ between variants, since code that
        # different processes compiled is later loaded into one.
        function.__qualname__ = self.name.replace(".", "_")
        signature = getattr(types, self.result)(*(getattr(types, name) for name in self.arguments))
        compiled = CFunc(function, (signature.args, signature.return_type), {}, {"error_model": "numpy"})
        with trying(self.choice or loop_choice()), linking_late(function.__qualname__):
            compiled.compile()
        return compiled

    def explained(self, error: Exception) -> GraphError:
        """The sentence for a user's kernel that Numba refuses."""
        return does_not_compile(self.function, error)

    def assembly(self) -> str:
        """The machine code as text, compiled anew; for looking at inner loops."""
        return str(self._compiled()._library.get_asm_str())


def require_room_to_compile() -> None:
    """Raise `EngineError` where a limit of the process leaves LLVM too little: it would end the process."""
    for limit in own_limits():
        if limit.room < ROOM_TO_COMPILE:
            raise EngineError(
                f"the limit {limit.command} leaves {shown_bytes(max(0, limit.room))}, and compiling kernels for this "
                f"model needs about {shown_bytes(ROOM_TO_COMPILE)}: raise it, at least for the first start."
            )


def does_not_compile(function: Callable[..., Any], error: Exception) -> GraphError:
    """The sentence for a user's function that Numba refuses: the first lines of what it says, and at which line."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Failed in nopython", "During:", "File "))]
    reason = " ".join(said[:2]).rstrip(".:")
    code, place = function.__code__, getattr(error, "loc", None)
    line = place.line if place is not None and place.filename == code.co_filename else code.co_firstlineno
    return GraphError(f"the kernel {function.__name__} does not compile: {reason}.", code.co_filename, line)


@functools.cache
def _name_functions_apart(process: int) -> None:
    """Begin the numbers in Numba's names of compiled functions at random, once in a process.

    They count from 1 in every process, and go on in every fork. Code that two processes compiled would have functions
    of one name for different closures, and the linker takes the first of that name for both.
    """
    from numba.core.bytecode import FunctionIdentity

    FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(6), "little"))


def kernel(
    arguments: tuple[str, ...] = ("int64", "int64", "int64"),
    result: str = "void",
    variant: str = "",
    choice: LoopChoice | None = None,
) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorator: see `Kernel`. Decorating compiles nothing."""

    def decorate(function: Callable[..., Any]) -> Kernel:
        return Kernel(inspect.unwrap(function), arguments, result, variant, choice)

    return decorate


def prepare(kernels: Iterable[Kernel], progress: Callable[[str, int, int], None] | None = None) -> None:
    """Load or compile each kernel, reporting ("compile", done, total) after each that was not in memory."""
    waiting = [each for each in dict.fromkeys(kernels) if not each.is_ready]
    ready = 0

    def report(is_ready: bool = True) -> None:
        nonlocal ready
        ready += is_ready
        if progress is not None and is_ready:
            progress("compile", ready, len(waiting))

    with _LOCK:
        for each in waiting:
            report(each.load())
        missing = [each for each in waiting if not each.is_ready]
        if len(missing) > 1 and cache.kernel_directory() is not None:
            _compile_by_forks(missing, report)
        for each in missing:
            if not each.is_ready:
                each.address  # noqa: B018  (the property loads or compiles)
                report()


def _compile_by_forks(kernels: list[Kernel], report: Callable[[bool], None]) -> None:
    """Let forks compile into the cache what it can keep, and load that."""
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    kept = [each for each in kernels if each._cache_name() is not None]
    with global_compiler_lock:  # which no other thread must hold when a fork is made
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()
        done_by_forks([each.compile for each in kept], lambda number: report(kept[number].load()))

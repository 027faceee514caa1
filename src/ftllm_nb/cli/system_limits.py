"""What the system lets a process have (ulimit, control groups): too little of it is told in one sentence.

Some libraries end the process themselves where they get no memory, so that the least is asked for before they are
imported; whatever else fails for a limit is explained by `explain`.
"""

from __future__ import annotations

import errno
import os

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.errors import UsageError
from ftllm_nb.host_memory import own_limits, system_obtainable_bytes

NEEDED = {"-v": 340_000_000, "-d": 190_000_000}
"""Bytes that NumPy, Numba and LLVM take before any model is loaded: of the address space, and of data."""
RESIDENT = 120_000_000
"""Bytes of memory that they fill."""
NO_MEMORY = ("failed to map segment", "cannot allocate memory", "shared object file 'libllvmlite")
NO_THREAD = "can't start new thread"


def require_room() -> None:
    """Raise `UsageError` where the limits leave less than the engine needs before it has a model."""
    for limit in own_limits():
        if limit.room < NEEDED[limit.flag]:
            raise UsageError(
                f"the limit {limit.command} leaves {shown_bytes(limit.room)}, and the engine alone needs about "
                f"{shown_bytes(NEEDED[limit.flag])}: raise the limit."
            )
    free = system_obtainable_bytes()
    if free is not None and free < RESIDENT:
        raise UsageError(
            f"{shown_bytes(free)} of memory are free, and the engine alone needs about {shown_bytes(RESIDENT)}: close "
            "other programs, or raise the memory limit of the container or the control group."
        )


def use_one_blas_thread() -> None:
    """Let NumPy's BLAS start no threads, unless the user asks for them: the kernels have their own.

    Where the system starts no more of them, OpenBLAS interrupts the process as Ctrl-C does.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def explain(error: BaseException) -> str | None:
    """The sentence for an error that a limit of the system causes; None for another."""
    text = str(error).lower()
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, RuntimeError) and NO_THREAD in text:
        return "the system starts no more threads: ask for fewer with --threads, or raise the limit, ulimit -u."
    if number in (errno.EMFILE, errno.ENFILE):
        return "too many files are open at once: raise the limit, ulimit -n."
    if number == errno.EFBIG:
        return "a file would become larger than allowed: raise the limit, ulimit -f."
    no_memory = isinstance(error, (ImportError, OSError)) and any(words in text for words in NO_MEMORY)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or no_memory:
        limits = [f"{limit.command} leaves {shown_bytes(max(0, limit.room))}" for limit in own_limits()]
        why = f" ({', '.join(limits)})" if limits else ""
        return f"there is not enough memory for this model with these flags{why}."
    return None

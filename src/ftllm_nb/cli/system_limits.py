"""What the system lets a process have (ulimit, control groups): too little of it is told in one sentence.

Some libraries end the process themselves where they get no memory, so that the least is asked for before they are
imported; whatever else fails for a limit is explained by `explain`.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.errors import UsageError
from ftllm_nb.host_memory import own_limits, system_obtainable_bytes


@dataclass(frozen=True)
class Need:
    """What a command takes before it has read anything of the user's: bytes of the address space, of data, of memory.

    `whose`: whom the sentence about it names.
    """

    whose: str
    address_space: int
    data: int
    resident: int


ENGINE = Need("the engine alone", 340_000_000, 190_000_000, 120_000_000)
"""NumPy, Numba and LLVM."""
HUB = Need("this command", 120_000_000, 65_000_000, 40_000_000)
"""NumPy and huggingface_hub."""
LITTLE = Need("this command", 20_000_000, 12_000_000, 10_000_000)
"""The parser, and modules of Python's own."""
LEAST_FILES = 16
"""Files that must be allowed to be open at once: a server has nine before anybody asks."""
NO_MEMORY = ("failed to map segment", "cannot allocate memory", "shared object file 'libllvmlite")
NO_THREAD = "can't start new thread"


def require_room(need: Need) -> None:
    """Raise `UsageError` where the limits leave less than a command needs before it has read anything."""
    files = most_open_files()
    if files is not None and files < LEAST_FILES:
        raise UsageError(f"the limit ulimit -n {files} lets too few files be open at once: raise it to {LEAST_FILES}.")
    for limit in own_limits():
        needed = need.address_space if limit.flag == "-v" else need.data
        if limit.room < needed:
            raise UsageError(
                f"the limit {limit.command} leaves {shown_bytes(max(0, limit.room))}, and {need.whose} needs about "
                f"{shown_bytes(needed)}: raise the limit."
            )
    free = system_obtainable_bytes()
    if free is not None and free < need.resident:
        raise UsageError(
            f"{shown_bytes(free)} of memory are free, and {need.whose} needs about {shown_bytes(need.resident)}: close "
            "other programs, or raise the memory limit of the container or the control group."
        )


def most_open_files() -> int | None:
    """How many files this process may have open at once; None where the system does not say, or does not care."""
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


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
        return f"there is not enough memory for this command with these flags{why}."
    return None

"""What compiled code is made of: compilation and its cache, vectors, atomics, the matmul tile, the step's layout.

A *kernel* is a module-level Python function marked with `@kernel` (compile.py). Numba compiles it on first use
to a C function that the walker calls by address. Kernels see memory as integer addresses (memory.py) and compute
on 16-lane vectors (simd.py).
"""

import contextlib
import os

from ftllm_nb.errors import UsageError
from ftllm_nb.kernels.numba_import import import_numba
from ftllm_nb.kernels.tiers import current_tier

import_numba()

if os.environ.get("FTLLM_NB_TIER"):
    # Numba reads the target of its code generator once, when it meets the first function to compile: those of the
    # modules below here. A tier that does not exist is refused where it is used.
    with contextlib.suppress(UsageError):
        current_tier()

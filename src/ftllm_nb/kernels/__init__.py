"""What compiled code is made of: compilation and its cache, vectors, atomics, the matmul tile, the step's layout.

A *kernel* is a module-level Python function marked with `@kernel` (compile.py). Numba compiles it on first use
to a C function that the walker calls by address. Kernels see memory as integer addresses (memory.py) and compute
on 16-lane vectors (simd.py).
"""

"""ftllm-nb: large language models on CPUs, described in one Python file, run by Numba-compiled kernels."""

__version__ = "0.1.0"

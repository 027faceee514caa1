"""Numba's own environment variables, NUMBA_…, which it reads while it is imported."""

from __future__ import annotations

import os
import re
import sys
import warnings

THREADS = "NUMBA_NUM_THREADS"
"""Of Numba's own threads, which kernels do not use; Numba cannot be imported where it is less than 1."""

_UNREADABLE = re.compile(r"Environment variable '(\w+)' is defined but its associated value '(.*)' could")


def import_numba() -> None:
    """Import Numba, whatever its variables hold: what it cannot read is said in a line each, and left out."""
    if "numba" in sys.modules:
        return
    threads = os.environ.get(THREADS)
    is_wrong = threads is not None and re.fullmatch(r"\s*\+?0*[1-9]\d*\s*", threads) is None
    if is_wrong:
        del os.environ[THREADS]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")  # also where PYTHONWARNINGS makes errors of them
            import numba  # noqa: F401
    finally:
        if is_wrong and threads is not None:
            os.environ[THREADS] = threads
    for warning in caught:
        found = _UNREADABLE.match(str(warning.message))
        if found is not None:
            name, value = found.groups()
            print(f"warning: Numba cannot read the environment variable {name}, {value!r}.", file=sys.stderr)

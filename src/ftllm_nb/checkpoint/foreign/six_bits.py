"""Floats of 6 bits, e2m3 of the standard on MX types: each is one of e4m3, whose exponents reach further."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.codes import CODES

_NEGATIVE = 0x80
"""Where e4m3 has the sign."""


def _magnitudes() -> NDArray[np.uint8]:
    """Codes of e4m3 of the 32 magnitudes of e2m3: the first 8 are eighths, the others have a leading one."""
    exponents, eighths = np.divmod(np.arange(32), 8)
    values = np.where(exponents == 0, eighths / 8, (1 + eighths / 8) * np.exp2(exponents - 1.0))
    return np.searchsorted(CODES["e4m3"].values[: _NEGATIVE - 1], values).astype(np.uint8)


_CODES = np.concatenate([_magnitudes(), _magnitudes() | np.uint8(_NEGATIVE)])


def e4m3_of_e2m3(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes of 6 bits, a sign above two bits of the exponent and three of the mantissa, as codes of 8 bits."""
    return np.asarray(_CODES[codes], np.uint8)

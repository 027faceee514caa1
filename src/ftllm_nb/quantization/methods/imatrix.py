"""Least error of outputs where inputs are as the calibration text makes them: squared errors count as inputs' squares.

An input that is ten times larger makes its column's errors count a hundred times as much; how inputs go together is
left out. llama.cpp's importance matrices hold the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.grids import Fitter, Floats, Scales

CALIBRATED = True
NEEDS_PRODUCTS = False


def importance(moments: Moments) -> Floats:
    """How much a column's squared error counts, [columns]."""
    return moments.mean_squares


def quantize_matrix(weights: Floats, moments: Moments, fitter: Fitter) -> tuple[NDArray[np.uint8], Scales]:
    """See methods/__init__.py."""
    scales = fitter.scales(weights, importance(moments))
    return fitter.codes(weights, scales), scales

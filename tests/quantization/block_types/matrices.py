"""Weights as models have them, and what is hard about some: large ones, zeros, all of one sign, all alike."""

from __future__ import annotations

import numpy as np


def _matrix() -> np.ndarray:
    random = np.random.default_rng(7)
    found = (random.standard_normal((24, 1024)) * 0.04).astype(np.float32)
    found[:, ::97] *= 4
    found[0, :512] = 0
    found[1, :256] = 0.03
    found[2] = np.abs(found[2]) + np.float32(0.5)
    found[3] = -np.abs(found[3])
    return found


MATRIX = _matrix()

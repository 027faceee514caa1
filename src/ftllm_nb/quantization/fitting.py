"""Matrices as levels and scales of a scheme of folders, by a method that looks at what they are multiplied by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.compressed_tensors import WeightScheme
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.hadamard import gathered_weights, spread_weights
from ftllm_nb.quantization.block_fitting import BlockRounder
from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.folder_form import FolderForm
from ftllm_nb.quantization.grids import Fitter, Floats, Grid, Scales
from ftllm_nb.quantization.methods import method_module
from ftllm_nb.quantization.mixable import Rounder
from ftllm_nb.quantized_type import BlockedType

COLUMNS_MULTIPLE = 32
"""Of what is fitted: columns are filled up to it where a scale is a whole row's."""


def fitted(
    weights: Floats, moments: Moments, scheme: WeightScheme, method: str, pool: ThreadPool
) -> tuple[NDArray[np.uint8], Scales, Fitter]:
    """The places of levels and the scales of a matrix [rows, columns], its columns filled up to a multiple of 32, and
    what they are of. Raises `ValueError`, "holds …", as `Fitter.scales` does."""
    columns = weights.shape[1]
    padded = -(-columns // COLUMNS_MULTIPLE) * COLUMNS_MULTIPLE
    weights, moments = np.pad(weights, ((0, 0), (0, padded - columns))), moments.padded(padded)
    if scheme.spread:
        size = scheme.group or padded
        weights = spread_weights(weights.reshape(len(weights), -1, size)).reshape(weights.shape)
        moments = moments.spread(size)
    fitter = Fitter(Grid.of(scheme.type), pool)
    codes, scales = method_module(method).quantize_matrix(weights, moments, fitter)
    return codes, scales, fitter


def rounded(weights: Floats, moments: Moments, scheme: WeightScheme, method: str, pool: ThreadPool) -> Floats:
    """The weights that a matrix has in a scheme. Raises `ValueError` as `fitted` does."""
    codes, scales, fitter = fitted(weights, moments, scheme, method, pool)
    values = fitter.values(codes, scales)
    if scheme.spread:
        size = scheme.group or values.shape[1]
        values = gathered_weights(values.reshape(len(values), -1, size)).reshape(values.shape)
    return np.ascontiguousarray(values[:, : weights.shape[1]])


@dataclass(frozen=True)
class FolderRounder(Rounder):
    """Rounds to the types of folders, on all threads of a pool."""

    format: FolderForm
    symmetric: bool
    pool: ThreadPool
    blocks: BlockRounder

    def rounded(self, dtype: str, weights: Floats, moments: Moments, method: str) -> Floats:
        type = self.format.types()[dtype]
        if isinstance(type, BlockedType):
            return self.blocks.rounded(dtype, weights, moments, method)
        scheme = self.format.scheme(type.bits, type.group, self.symmetric)
        if weights.shape[1] % COLUMNS_MULTIPLE:
            scheme = replace(scheme, spread=False)
        return rounded(weights, moments, scheme, method, self.pool)

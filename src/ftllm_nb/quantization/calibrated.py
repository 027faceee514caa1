"""Making the tensors whose method looks at a calibration text: a layer's matrices at a time, each whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.compressed_tensors import PACK_QUANTIZED, WeightScheme, pack
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.quant.integers import has_room
from ftllm_nb.quantization.block_fitting import Encoder, laid, written_type
from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.calibration.walk import Captured, capture
from ftllm_nb.quantization.fitting import fitted
from ftllm_nb.quantization.gguf.imatrix_file import moments_of
from ftllm_nb.quantization.job import QuantizeJob
from ftllm_nb.quantization.methods import method_module
from ftllm_nb.quantization.partial import PartialFolder
from ftllm_nb.quantization.rows import QuantizedRows, not_quantizable, too_small
from ftllm_nb.quantization.tensors import PlannedTensor


def make_calibrated(
    job: QuantizeJob, folder: PartialFolder, pool: ThreadPool, progress: Callable[[str, int, int], None] | None
) -> None:
    """Write the tensors of `job.calibrated` that are not done yet.

    What a layer is multiplied by is what the float model makes of the text: so a run can go on with another's work.
    """
    wanted = {tensor.name: tensor for tensor in job.calibrated if tensor.name not in folder.done}
    if not wanted:
        return
    method = method_module(job.options.method)

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress("calibrate", done, total)

    layers: Iterable[Captured]
    if job.importance:
        layers = ({name: moments_of(job.importance[name])} for name in wanted)
    else:
        layers = capture(
            job.graph, job.checkpoint, job.windows, set(wanted), products=method.NEEDS_PRODUCTS, progress=report
        )
    with ThreadPoolExecutor(pool.num_workers, "ftllm-nb quantizer") as workers:
        encoder = Encoder(job.options.method, pool, workers)
        for captured in layers:
            for name, moments in captured.items():
                tensor = wanted[name]
                rows = _quantized(job, tensor, moments, pool, encoder)
                for piece in job.format.pieces(tensor, 0, rows):
                    folder.write(piece.tensor.name, piece.offset, piece.content)
                folder.finish(name, {output.name: output.nbytes for output in job.format.outputs(tensor)})


def _quantized(
    job: QuantizeJob, tensor: PlannedTensor, moments: Moments, pool: ThreadPool, encoder: Encoder
) -> QuantizedRows | NDArray[np.uint8]:
    """A tensor's rows as `OutputFormat.pieces` takes them."""
    weights = read_float32(job.checkpoint, tensor.name)
    weights = np.ascontiguousarray(weights.T if tensor.turned else weights)
    job.checkpoint.release(tensor.name)
    try:
        if tensor.blocks is not None:
            type = written_type(tensor.blocks)
            encoded = encoder.encode(type, weights, moments)
            if weights.any() and not type.has_room(encoded):
                raise too_small(tensor.name, str(tensor.blocks).lower())
            return laid(tensor.blocks, encoded, weights.shape[1], pool)
        scheme = tensor.scheme
        assert scheme is not None
        codes, scales, _ = fitted(weights, moments, scheme, job.options.method, pool)
    except ValueError as error:
        raise not_quantizable(tensor.name, error) from None
    if weights.any() and not has_room(np.abs(scales.scales)):
        raise too_small(tensor.name, scheme.name)
    return QuantizedRows(_laid(codes[:, : weights.shape[1]], scheme), scales.scales, scales.zeros)


def _laid(codes: NDArray[np.uint8], scheme: WeightScheme) -> NDArray[np.uint8]:
    """Levels' places as the scheme's layout has the numbers."""
    signed = (codes - np.uint8(scheme.type.half)).view(np.int8)
    if scheme.layout == PACK_QUANTIZED:
        return pack(signed, scheme.bits).view(np.uint8)
    return np.ascontiguousarray(signed).view(np.uint8)

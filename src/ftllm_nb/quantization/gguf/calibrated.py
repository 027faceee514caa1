"""Tensors of a GGUF file whose method looks at a calibration text: a layer's at a time, each whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.calibration.walk import capture
from ftllm_nb.quantization.gguf.imatrix_file import moments_of
from ftllm_nb.quantization.methods import method_module

if TYPE_CHECKING:
    from ftllm_nb.quantization.gguf.job import GgufJob, PlannedFileTensor


def calibrated_tensors(
    job: GgufJob, done: set[str], progress: Callable[[int, int], None]
) -> Iterator[tuple[PlannedFileTensor, dict[str, Moments]]]:
    """The tensors of `job.calibrated` that are not done, and what the model's tensors that they are made of are
    multiplied by, as the text makes it, or as a file says."""
    waiting = {tensor.name: tensor for tensor in job.calibrated if tensor.name not in done}
    if not waiting:
        return
    if job.importance:
        for name, tensor in waiting.items():
            moments = moments_of(job.importance[name])
            yield tensor, {part.weight.tensor: moments for part in tensor.parts}
        return
    names = {part.weight.tensor for tensor in waiting.values() for part in tensor.parts}
    products, found = method_module(job.method).NEEDS_PRODUCTS, dict[str, Moments]()
    for captured in capture(job.graph, job.checkpoint, job.windows, names, products=products, progress=progress):
        found |= captured
        ready = [
            tensor for tensor in waiting.values() if all(part.weight.tensor in found for part in tensor.parts)
        ]
        for tensor in ready:
            yield tensor, {part.weight.tensor: found[part.weight.tensor] for part in tensor.parts}
            del waiting[tensor.name]
        kept = {part.weight.tensor for tensor in waiting.values() for part in tensor.parts}
        found = {name: moments for name, moments in found.items() if name in kept}

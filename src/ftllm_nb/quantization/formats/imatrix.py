"""A file of importance, as llama.cpp's llama-imatrix writes it: the mean squares of what matrices are multiplied by."""

from __future__ import annotations

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.errors import UsageError
from ftllm_nb.quantization.formats.base import Output
from ftllm_nb.quantization.gguf.imatrix_job import ImatrixJob
from ftllm_nb.quantization.options import QuantizeOptions


class Imatrix(Output):
    """For `--calibration` here, and for `llama-quantize --imatrix`. It holds no weights."""

    default_dtype = ""
    default_method = "imatrix"

    def dtypes(self) -> list[str]:
        return []

    def check(self, options: QuantizeOptions) -> None:
        if options.dtype or options.bits is not None or options.rules or options.method != self.default_method:
            raise UsageError(
                "a file of importance has no types and no methods: leave out --dtype, --dtype_config, --bits and "
                "--method."
            )

    def job(self, checkpoint: Checkpoint, options: QuantizeOptions) -> ImatrixJob:
        return ImatrixJob(checkpoint, options.custom, options.calibration, options.calibration_tokens)


FORMAT = Imatrix()

"""A GGUF file, which llama.cpp and all that is built on it load as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.errors import UsageError
from ftllm_nb.quantization.formats.base import Output
from ftllm_nb.quantization.gguf.recipes import dtype_names, require_dtype

if TYPE_CHECKING:
    from ftllm_nb.quantization.gguf.make import GgufFileJob
    from ftllm_nb.quantization.options import QuantizeOptions


class Gguf(Output):
    """One file with weights in ggml's types, the tokenizer and the chat template."""

    default_dtype = "q4_k_m"

    def dtypes(self) -> list[str]:
        return dtype_names()

    def rule_dtypes(self) -> list[str]:
        return dtype_names()

    def beside(self, bits: float, symmetric: bool) -> str:
        if bits >= 8:
            return "q8_0"
        return "q6_k" if bits >= 6 else "q5_k" if bits >= 5 else "iq4_nl"

    def check(self, options: QuantizeOptions) -> None:
        require_dtype(options.dtype)
        if not options.symmetric:
            raise UsageError("--asymmetric is not for GGUF files, whose types say it: q4_1, q5_1 and the K types are.")
        if options.custom is not None:
            raise UsageError(
                "--custom is not for GGUF files: those who read them know architectures by name, and no file beside."
            )

    def job(self, checkpoint: Checkpoint, options: QuantizeOptions) -> GgufFileJob:
        from ftllm_nb.quantization.gguf.make import GgufFileJob  # which takes time to import

        return GgufFileJob(
            checkpoint, options.dtype, options.method, options.rules, options.calibration, options.calibration_tokens
        )


FORMAT = Gguf()

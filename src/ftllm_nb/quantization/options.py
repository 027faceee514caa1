"""What a quantized copy is asked to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

from ftllm_nb.engine.weight_types import Rule
from ftllm_nb.errors import UsageError
from ftllm_nb.quantization.methods import is_calibrated, methods

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and all."""


@dataclass(frozen=True)
class QuantizeOptions:
    """What `ftllm-nb quantize` is asked for. `rules`: exceptions from `dtype`; `custom`: a file to copy beside.
    `calibration`: the file of a text, or "builtin", which None means, too, where the method or `bits` need one;
    `calibration_tokens`: about how many of its tokens are read. `bits`: of matrices of layers, a weight, each with a
    type that is chosen, and `dtype` for those of whose inputs nothing is known; `embedding_bits`: of others, at most.
    """

    dtype: str
    method: str
    symmetric: bool = True
    rules: tuple[Rule, ...] = ()
    format: str = "compressed_tensors"
    largest_shard: int = 5_000_000_000
    custom: str | PathLike[str] | None = None
    calibration: str | None = None
    calibration_tokens: int | None = None
    bits: float | None = None
    embedding_bits: float | None = None

    def check(self) -> None:
        """Raise `UsageError` for a text that the method would not look at, and bits of nothing. What a form does not
        take, `Output.check` says."""
        if self.bits is None and self.embedding_bits is not None:
            raise UsageError("--embedding_bits goes with --bits: else name a type by a rule of --dtype_config.")
        if self.bits is None and not self.looks_at_text and (self.calibration, self.calibration_tokens) != (None, None):
            able = " or ".join(name for name in methods() if is_calibrated(name))
            raise UsageError(f"{self.method} looks at no calibration text: leave that out, or choose --method {able}.")

    @property
    def looks_at_text(self) -> bool:
        """Whether the method does."""
        return is_calibrated(self.method)

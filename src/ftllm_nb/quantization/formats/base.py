"""What a form of output is: what it can be asked for, and the job that makes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.errors import UsageError
from ftllm_nb.loading import describe
from ftllm_nb.quantization.folder_form import FolderForm
from ftllm_nb.quantization.gguf.as_floats import as_floats
from ftllm_nb.quantization.methods import DEFAULT, method_module
from ftllm_nb.quantization.options import Progress, QuantizeOptions
from ftllm_nb.quantization.run import FolderJob
from ftllm_nb.quantization.unstacked import unstacked


class Job(Protocol):
    """A model and what is to be made of it."""

    @property
    def unread_tensors(self) -> list[str]:
        """Those of the model that no operator reads."""

    def notes(self) -> list[str]:
        """Sentences that are worth saying once."""

    def table(self) -> str:
        """What will be made, a line a tensor."""

    def check_place(self, out: Path, replace: bool) -> None:
        """Raise `UsageError` where it cannot be made there."""

    def write(self, out: Path, threads: int, *, resume: bool, replace: bool, progress: Progress | None = None) -> None:
        """Make it; what stays where that fails is as `FolderJob.write` of quantization/run.py says."""

    def summary(self) -> str:
        """What was made, in a few words."""

    def unquantized(self) -> str:
        """Which matrices are not quantized, in a few words; "" where all are."""


class Output(ABC):
    """What `--format` names. `default_dtype`, `default_method`: what `--dtype` and `--method` are where nobody says."""

    default_dtype: str = "int4g128"
    default_method: str = DEFAULT

    @abstractmethod
    def dtypes(self) -> list[str]:
        """What `--dtype` may be."""

    def rule_dtypes(self) -> list[str] | None:
        """What rules of `--dtype_config` may name; None for the types of `--dtype` while a model loads."""
        return None

    def beside(self, bits: float, symmetric: bool) -> str:
        """What `--dtype` is beside `--bits`: the type of matrices of whose inputs nothing is known. `symmetric`: unless
        there are zero points."""
        return "int8g32" if bits >= 8 else "int4g32"

    @abstractmethod
    def check(self, options: QuantizeOptions) -> None:
        """Raise `UsageError` for options that are none, or not for this form."""

    @abstractmethod
    def job(self, checkpoint: Checkpoint, options: QuantizeOptions) -> Job:
        """What is to be made of a model. Raises `FtllmError`s for what cannot be done; reads no weight."""


class OutputFormat(Output, FolderForm):
    """How quantized models lie in folders."""

    def dtypes(self) -> list[str]:
        return list(self.types())

    def check(self, options: QuantizeOptions) -> None:
        if options.dtype not in self.types():
            raise UsageError(
                f"{options.dtype!r} is no type of quantized weights in folders: use {', '.join(self.types())}."
            )
        method_module(options.method)

    def job(self, checkpoint: Checkpoint, options: QuantizeOptions) -> FolderJob:
        self.check(options)
        options.check()
        floats = as_floats(checkpoint, keep=options.dtype == "auto")
        if options.custom is None and options.dtype != "auto":
            floats = unstacked(floats, describe(floats))
        return FolderJob(floats, options, self)

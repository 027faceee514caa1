"""A file of importance that is to be made of a model and a text."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.weight_types import embedding_weights
from ftllm_nb.errors import UsageError
from ftllm_nb.loading import describe
from ftllm_nb.quantization.calibration.text import BUILTIN, WINDOW, read_windows
from ftllm_nb.quantization.calibration.walk import capture, multiplied
from ftllm_nb.quantization.gguf.imatrix_file import ENDINGS, file_names, is_imatrix, write_imatrix
from ftllm_nb.quantization.options import Progress


class ImatrixJob:
    """A model, and the matrices of its layers whose inputs the file tells of. Raises `FtllmError`s for what cannot be
    done; reads no weight."""

    def __init__(
        self, checkpoint: Checkpoint, custom: str | PathLike[str] | None, text: str | None, tokens: int | None
    ) -> None:
        if is_imatrix(text):
            raise UsageError(f"{text} is importance already: --calibration takes the text that inputs are made of.")
        self._checkpoint, self._graph = checkpoint, describe(checkpoint, custom)
        self.unread_tensors = self._graph.unread_tensors
        names = file_names(checkpoint, self._graph)
        tables = {value.tensor for value in embedding_weights(self._graph)}
        self._names = {name: names[name] for name in multiplied(self._graph, names.keys() - tables)}
        self._text = text or BUILTIN
        self._windows, self._doubts = read_windows(checkpoint, self._graph, text, tokens)

    def notes(self) -> list[str]:
        """Sentences that are worth saying once."""
        return self._doubts

    def table(self) -> str:
        """The matrices that the file tells of, a line each."""
        lines = [f"| {theirs} | {own} |" for own, theirs in sorted(self._names.items())]
        return "\n".join(["| in the file | tensor |", "|---|---|", *lines])

    def check_place(self, out: Path, replace: bool) -> None:
        """Raise `UsageError` where it cannot be made there."""
        if not out.parent.is_dir():
            raise UsageError(f"{out.parent} is no folder: make it first, or name another -o.")
        if not is_imatrix(out.name):
            endings = " or ".join(ENDINGS)
            raise UsageError(f"-o {out.name} is no name of a file of importance: it must end in {endings}.")
        if out.exists() and not (replace and out.is_file()):
            raise UsageError(f"{out} exists: name another -o, or let --force replace it, if it is a file.")

    def write(self, out: Path, threads: int, *, resume: bool, replace: bool, progress: Progress | None = None) -> None:
        """Let the text go through the model, and make the file."""
        if resume:
            raise UsageError("--resume is not for files of importance, which are made at once.")
        self.check_place(out, replace)

        def report(done: int, total: int) -> None:
            if progress is not None:
                progress("calibrate", done, total)

        found = {
            self._names[name]: moments
            for layer in capture(
                self._graph, self._checkpoint, self._windows, set(self._names), products=False, progress=report
            )
            for name, moments in layer.items()
        }
        write_imatrix(out, found, self._text, WINDOW)

    def unquantized(self) -> str:
        """None is made."""
        return ""

    def summary(self) -> str:
        """What was made."""
        tokens = sum(map(len, self._windows))
        return f"importance of the inputs of {len(self._names)} matrices, from {tokens:,} tokens"

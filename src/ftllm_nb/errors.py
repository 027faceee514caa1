"""Every error that a user can cause, as one tree.

FtllmError                  one sentence: what, where, what was expected, what to do
├── UsageError              a flag or an argument of the Python API is wrong
├── CheckpointError         a model folder, or a file in it, cannot be used
├── OutputError             a file or folder cannot be written
├── HubError                a model cannot be fetched by its name
├── TokenizerError          tokenizer files or a chat template cannot be used
├── GraphError              a ComputeGraph (a --custom file) is wrong; names the user's line
├── ContextLengthError      a prompt or an answer does not fit the model's context
└── EngineError             the engine cannot do what was asked (memory, a closed engine, a failed step)

The command line prints the sentence and exits with status 2; `--debug` shows the traceback as well.
`StepStopped` is no error: it says that somebody asked a running step to stop.
"""

from __future__ import annotations

BEGINNING = "docs/custom_model.md#from-a-checkpoint-to-a-server"
OWN_OPERATORS = "docs/custom_model.md#operators-of-your-own"
MODELS_PAGE = "docs/models.md"
GGUF_PAGE = "docs/gguf.md"
OPERATORS_PAGE = "docs/operators.md"
"""The pages that say how a model is described, and what there is: errors of what is missing end with them."""


class FtllmError(Exception):
    """Base of all errors that bad input can cause; `str(error)` is the sentence to show."""


class UsageError(FtllmError):
    """A flag or an argument is wrong."""


class CheckpointError(FtllmError):
    """A model folder, or a file in it, is missing, damaged or contradicts itself."""


class OutputError(FtllmError):
    """A file or folder cannot be written: no room, no permission, or something stands in its place."""


class HubError(FtllmError):
    """A model cannot be fetched: no such name, no access, no connection, or no usable files."""


class TokenizerError(FtllmError):
    """Tokenizer files or a chat template are missing, damaged or do not fit the model."""


class GraphError(FtllmError):
    """A graph is wrong. `file` and `line` say where its author wrote the offending call, where known."""

    def __init__(self, message: str, file: str | None = None, line: int | None = None) -> None:
        self.file = file
        self.line = line
        where = f"{file}:{line}: " if file is not None and line is not None else ""
        super().__init__(where + message)


class ContextLengthError(FtllmError):
    """A prompt or a conversation is longer than the model's context."""


class EngineError(FtllmError):
    """The engine cannot do what was asked: out of memory, closed, or a step that failed."""


class StepStopped(Exception):
    """A running step was asked to stop; its results are discarded and the caches are as before it."""

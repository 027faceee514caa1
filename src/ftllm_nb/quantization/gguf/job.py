"""A GGUF file that is to be made of a model: the draft, and all that follows from it."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftllm_nb import __version__
from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.gguf.checkpoint import GgufCheckpoint
from ftllm_nb.checkpoint.gguf.draft import DraftFile
from ftllm_nb.checkpoint.gguf.generation import sampling_metadata
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.engine.weight_types import Rule
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.loading import describe
from ftllm_nb.quantization.block_types import written_types
from ftllm_nb.quantization.gguf.agreement import require_same_graph, require_same_tokens
from ftllm_nb.quantization.gguf.model import WeightSource, outgoing
from ftllm_nb.quantization.gguf.recipes import AUTO, file_type, matrix_type, require_dtype
from ftllm_nb.quantization.identity import stored_files
from ftllm_nb.quantization.job import Progress
from ftllm_nb.quantization.partial import DISK_BLOCK
from ftllm_nb.quantization.shards import Layout, Shard
from ftllm_nb.quantization.table import Line, lines_as_table
from ftllm_nb.tokenizer import choose_tokenizer
from ftllm_nb.tokenizer.gguf.write import tokenizer_entries
from ftllm_nb.tokenizer.tokenizer import Tokenizer

METHODS = ("mse", "rtn")
FILE = "model.gguf"
"""What the file is called while it is written."""
_LOGITS, _TOKENS = "output.weight", "token_embd.weight"
_STORED = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_QUANTIZATION_VERSION = 2
"""Of all types that there are."""


@dataclass(frozen=True)
class Part:
    """What a tensor of the model is in the file's: `source` says how reading takes it out."""

    source: Source
    weight: WeightSource


@dataclass(frozen=True)
class PlannedFileTensor:
    """A tensor of the file: `dtype` a name of `written_types`; `stored`: the type of its first part in the model.

    `note`: why it got another type than was asked for, "" where it did not.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    parts: tuple[Part, ...]
    stored: str
    note: str = ""

    @property
    def weights(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Its size in the file."""
        return self.weights // self.shape[-1] * written_types()[self.dtype].row_bytes(self.shape[-1])


class GgufJob:
    """A model and the file that is to be made of it. Raises `FtllmError`s for what cannot be done; reads no weight."""

    def __init__(self, checkpoint: Checkpoint, dtype: str, method: str, rules: Sequence[Rule] = ()) -> None:
        require_dtype(dtype)
        if method not in METHODS:
            raise UsageError(f"--method {method} is not for the types of GGUF files: use {' or '.join(METHODS)}.")
        self.checkpoint, self.dtype, self.method, self.rules = checkpoint, dtype, method, rules
        graph = describe(checkpoint)
        self.unread_tensors = graph.unread_tensors
        self._model = outgoing(checkpoint.path, graph)
        tokenizer = _tokenizer_of(checkpoint, graph)
        types = self._types(graph)
        shapes = self._model.architecture.file_shapes(self._model.model)
        contents = self._model.architecture.contents(self._model.model)
        described = {name: (types[name][0].upper(), shape) for name, shape in shapes.items()}
        described |= {name: ("F32", values.shape) for name, values in contents.items()}
        self._contents = contents
        self.draft = DraftFile(checkpoint.path, self._metadata(graph, tokenizer), described, contents)
        read = GgufCheckpoint(self.draft)
        self._require_agreement(graph, read)
        self._token_notes = require_same_tokens(checkpoint.path, tokenizer, _tokenizer_of(read, graph))
        self.tensors = self._planned(read, types)

    def _metadata(self, graph: CheckedGraph, tokenizer: Tokenizer) -> dict[str, Any]:
        model = self._model
        name = self.checkpoint.path.resolve().name
        if any(token.rstrip for token in tokenizer.backend.added_tokens.values()) and "phi-3" not in name.lower():
            name = f"Phi-3 {name}"  # by which readers know that tokens swallow spaces
        own = model.architecture.entries(model.model)
        found: dict[str, Any] = {"general.architecture": model.name, "general.type": "model", "general.name": name}
        if self.dtype != AUTO:
            found["general.file_type"] = file_type(self.dtype)
        return {
            **found,
            "general.quantization_version": _QUANTIZATION_VERSION,
            **sampling_metadata(self.checkpoint.generation_config),
            **{f"{model.name}.{key}": value for key, value in own.items()},
            f"{model.name}.vocab_size": graph.vocab_size,
            **tokenizer_entries(tokenizer, graph.vocab_size, str(self.checkpoint.path)),
        }

    def _types(self, graph: CheckedGraph) -> dict[str, tuple[str, str]]:
        """The type of each tensor of the file, and a note on it."""
        model, layers = self._model, int(graph.config["num_hidden_layers"])
        file_names = {name: model.architecture.file_name(name) for name in model.model.shapes}
        logits = _LOGITS if _LOGITS in file_names.values() else _TOKENS
        found = dict.fromkeys(model.architecture.file_shapes(model.model), ("f32", ""))
        for name in model.matrices:
            file_name, weight = file_names[name], model.sources[name].tensor
            chosen = matrix_type(self.dtype, file_name, layers, file_name == logits)
            for rule in self.rules:
                if rule.pattern.search(weight):
                    chosen = rule.dtype
            if chosen == AUTO:
                chosen = self._stored_type(weight)
            require_dtype(chosen)
            found[file_name] = _fitting(matrix_type(chosen, "", 0, False), model.model.shapes[name][-1])
        return found

    def _stored_type(self, weight: str) -> str:
        info = self.checkpoint.tensors[weight]
        found = _STORED.get(str(info.dtype), info.stored.lower())
        return found if found in written_types() else "f32"

    def _require_agreement(self, graph: CheckedGraph, read: GgufCheckpoint) -> None:
        names = {self._model.sources[name].tensor: name for name in self._model.sources}
        missing = [name for name in names.values() if name not in read.tensors]
        if missing:
            raise UsageError(
                f"no GGUF file can hold {self.checkpoint.path}: the architecture {self._model.name} there has no "
                f"tensor for {missing[0]}."
            )
        require_same_graph(self.checkpoint.path, self._model.name, graph, read, names)

    def _planned(self, read: GgufCheckpoint, types: dict[str, tuple[str, str]]) -> list[PlannedFileTensor]:
        parts: dict[str, list[Part]] = {}
        for name, source in read.sources.items():
            parts.setdefault(source.name, []).append(Part(source, self._model.sources[name]))
        planned = []
        for name, each in self.draft.tensors.items():
            if name in self._contents:
                continue
            stored = str(self.checkpoint.tensors[parts[name][0].weight.tensor].dtype)
            dtype, note = types[name]
            planned.append(PlannedFileTensor(name, each.shape, dtype, tuple(parts[name]), stored, note))
        return planned

    @property
    def contents(self) -> dict[str, Any]:
        """Tensors of the file that are known before any weight is read."""
        return self._contents

    @property
    def weights(self) -> int:
        """How many numbers the model's tensors hold."""
        return sum(tensor.weights for tensor in self.tensors)

    def notes(self) -> list[str]:
        """Sentences that are worth saying once."""
        names = [part.weight.tensor for tensor in self.tensors for part in tensor.parts]
        unused = [rule.text for rule in self.rules if not any(map(rule.pattern.search, names))]
        return [
            *(f"no weight has a name in which the rule {rule} is found." for rule in unused),
            *(
                f"{note} ({count} matri{'x' if count == 1 else 'ces'})."
                for note, count in Counter(tensor.note for tensor in self.tensors if tensor.note).items()
            ),
            *self._token_notes,
        ]

    @property
    def layout(self) -> Layout:
        """The one file."""
        starts = {name: each.start for name, each in self.draft.tensors.items()}
        return Layout((Shard(FILE, self.draft.header, starts, self.draft.size),), None, is_file=True)

    @property
    def needed_bytes(self) -> int:
        """What the file takes on the disk."""
        return -(-self.draft.size // DISK_BLOCK) * DISK_BLOCK

    def identity(self) -> str:
        """A hash of all that the result depends on, as of `QuantizeJob`."""
        facts = (__version__, self.method, self.draft.header, stored_files(self.checkpoint.path))
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def table(self) -> str:
        """What the file will be, a line a tensor."""
        return lines_as_table(
            Line(
                tensor.name, tensor.shape, tensor.stored, tensor.dtype, self._stored_bytes(tensor), tensor.nbytes,
                tensor.note,
            )
            for tensor in self.tensors
        )  # fmt: skip

    def _stored_bytes(self, tensor: PlannedFileTensor) -> int:
        return sum(self.checkpoint.tensors[part.weight.tensor].nbytes for part in tensor.parts)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the model's tensors."""
        return sum(map(self._stored_bytes, self.tensors))

    def check_place(self, out: Path, replace: bool) -> None:
        """Raise `UsageError` where it cannot be made there."""
        from ftllm_nb.quantization.place import check_file_place

        check_file_place(out, self.checkpoint.path, replace)

    def write(self, out: Path, threads: int, *, resume: bool, replace: bool, progress: Progress | None = None) -> None:
        """Make the file; see quantization/run.py."""
        from ftllm_nb.quantization.gguf.make import make

        make(self, out, threads, resume=resume, replace=replace, progress=progress)


def _fitting(dtype: str, columns: int) -> tuple[str, str]:
    """The type, or the one that stands for it where its blocks do not divide the columns, and a note on that."""
    chosen = dtype
    while columns % written_types()[chosen].columns:
        chosen = written_types()[chosen].narrower.lower()
    note = f"{columns} columns are no multiple of {written_types()[dtype].columns}: {chosen} in place of {dtype}"
    return chosen, note if chosen != dtype else ""


def _tokenizer_of(checkpoint: Checkpoint, graph: CheckedGraph) -> Tokenizer:
    return choose_tokenizer(
        checkpoint.path, graph.tokenizer_config if checkpoint.tokenizer_metadata is None else {}, graph.config,
        checkpoint.generation_config, metadata=checkpoint.tokenizer_metadata, embedding_rows=graph.vocab_size,
        warn=lambda sentence: None,
    )  # fmt: skip

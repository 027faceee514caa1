"""A GGUF file that is to be made of a model: the draft, and all that follows from it."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb import __version__
from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.gguf.checkpoint import GgufCheckpoint
from ftllm_nb.checkpoint.gguf.draft import DraftFile
from ftllm_nb.checkpoint.gguf.generation import sampling_metadata
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.checkpoint.gguf.types import GGML_TYPES
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.engine.weight_types import Rule
from ftllm_nb.errors import CheckpointError, UsageError
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.kernels.compile import prepare
from ftllm_nb.loading import describe
from ftllm_nb.quantization.block_fitting import SCRATCH, BlockRounder, fitting_kernels
from ftllm_nb.quantization.block_types import written_types
from ftllm_nb.quantization.calibration.text import read_windows
from ftllm_nb.quantization.calibration.walk import multiplied
from ftllm_nb.quantization.gguf.agreement import read_draft, require_same_graph, require_same_tokens
from ftllm_nb.quantization.gguf.as_floats import rounded_twice
from ftllm_nb.quantization.gguf.imatrix_file import Importance, importance_of, is_imatrix
from ftllm_nb.quantization.gguf.model import WeightSource, outgoing, written_as
from ftllm_nb.quantization.gguf.recipes import AUTO, file_type, matrix_type, require_dtype
from ftllm_nb.quantization.gguf.relaid import relaid
from ftllm_nb.quantization.identity import stored_files
from ftllm_nb.quantization.methods import is_calibrated, methods
from ftllm_nb.quantization.mixable import Mixable, Rounder, Unit, largest_within
from ftllm_nb.quantization.partial import DISK_BLOCK
from ftllm_nb.quantization.plan import refuse_quantized
from ftllm_nb.quantization.shards import Layout, Shard
from ftllm_nb.quantization.table import Line, lines_as_table, sizes
from ftllm_nb.quantized_type import is_quantized
from ftllm_nb.tokenizer import load_tokenizer
from ftllm_nb.tokenizer.gguf import load_gguf_tokenizer
from ftllm_nb.tokenizer.gguf.write import tokenizer_entries
from ftllm_nb.tokenizer.tokenizer import Tokenizer

METHODS = ("mse", "rtn")
FILE = "model.gguf"
"""What the file is called while it is written."""
_PHI3 = re.compile("phi-?3", re.IGNORECASE)
_LOGITS, _TOKENS = "output.weight", "token_embd.weight"
_TABLES = (_LOGITS, _TOKENS)
_STACK = ".ffn_down_exps."
_BLOCKS = {type.name.lower(): type for type in GGML_TYPES.values()}
_FLOATS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_STORED_INTEGERS = {"int4g32_float16": "q4_0", "int8g32_float16": "q8_0"}
_STORED = {**_FLOATS, **_STORED_INTEGERS}
"""Types of folders that are types of files, too."""
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

    `is_kept`: its bytes are those of a file that the model is. `note`: why it got another type than was asked for, ""
    where it did not.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    parts: tuple[Part, ...]
    stored: str
    is_kept: bool = False
    note: str = ""

    @property
    def weights(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Its size in the file."""
        return self.weights // _BLOCKS[self.dtype].block * _BLOCKS[self.dtype].block_bytes


class GgufJob(Mixable):
    """A model and the file that is to be made of it. Raises `FtllmError`s for what cannot be done; reads no weight."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: str,
        method: str,
        rules: Sequence[Rule] = (),
        calibration: str | None = None,
        calibration_tokens: int | None = None,
    ) -> None:
        require_dtype(dtype)
        if method not in METHODS and not is_calibrated(method):
            able = [*METHODS, *(name for name in methods() if is_calibrated(name))]
            raise UsageError(f"--method {method} is not for the types of GGUF files: use {' or '.join(able)}.")
        self.dtype, self.method, self.rules = dtype, method, rules
        if dtype != AUTO and checkpoint.tokenizer_metadata is None:
            refuse_quantized(checkpoint)
        self.graph = graph = describe(checkpoint)
        self.unread_tensors = graph.unread_tensors
        self.checkpoint = relaid(checkpoint, graph, written_as(checkpoint.path, graph)[1])
        if self.checkpoint is not checkpoint:
            self.graph = graph = describe(self.checkpoint)
        checkpoint = self.checkpoint
        self._model = outgoing(checkpoint, graph)
        tokenizer = _tokenizer_of(checkpoint, graph)
        types = self._types(graph)
        shapes = self._model.architecture.file_shapes(self._model.model)
        contents = self._model.architecture.contents(self._model.model)
        described = {name: (types[name][0].upper(), shape) for name, shape in shapes.items()}
        described |= {name: ("F32", values.shape) for name, values in contents.items()}
        self._contents = contents
        self.draft = DraftFile(checkpoint.path, self._metadata(graph, tokenizer), described, contents)
        read = read_draft(self.draft)
        self._notes = self._require_agreement(graph, read)
        self._notes += self._model.architecture.refused(self._model.model)
        self._notes += require_same_tokens(checkpoint.path, tokenizer, _tokenizer_of(read, graph))
        self.tensors = self._planned(read, types)
        self.calibrated = self._calibrated() if is_calibrated(method) else []
        self.importance: Importance = {}
        self.windows: list[NDArray[np.int32]] = []
        self._doubts: list[str] = []
        if self.calibrated and calibration is not None and is_imatrix(calibration):
            columns = {tensor.name: tensor.shape[-1] for tensor in self.calibrated}
            self.importance = importance_of(calibration, method, calibration_tokens, columns)
            self.calibrated = [tensor for tensor in self.calibrated if tensor.name in self.importance]
        elif self.calibrated:
            self.windows, self._doubts = read_windows(checkpoint, graph, calibration, calibration_tokens)

    def _calibrated(self) -> list[PlannedFileTensor]:
        """The tensors that are rounded by what a text makes of the inputs of all that they are made of."""
        quantized = [tensor for tensor in self.tensors if not tensor.is_kept and tensor.dtype not in _FLOATS.values()]
        names = multiplied(self.graph, {part.weight.tensor for tensor in quantized for part in tensor.parts})
        return [tensor for tensor in quantized if all(part.weight.tensor in names for part in tensor.parts)]

    def _metadata(self, graph: CheckedGraph, tokenizer: Tokenizer) -> dict[str, Any]:
        model = self._model
        own = model.architecture.entries(model.model)
        found: dict[str, Any] = {"general.architecture": model.name, "general.type": "model"}
        found["general.name"] = self._name(tokenizer)
        if self.dtype != AUTO:
            found["general.file_type"] = file_type(self.dtype)
        return {
            **found,
            "general.quantization_version": _QUANTIZATION_VERSION,
            **sampling_metadata(self.checkpoint.generation_config),
            **{f"{model.name}.{key}": value for key, value in own.items()},
            f"{model.name}.vocab_size": graph.vocab_size,
            **self._tokenizer_entries(tokenizer, graph.vocab_size),
        }

    def _name(self, tokenizer: Tokenizer) -> str:
        """What the file calls the model. Readers take it that tokens of a Phi-3 swallow spaces, and no others do."""
        given = (self.checkpoint.tokenizer_metadata or {}).get("general.name")
        name = given if isinstance(given, str) else self.checkpoint.path.resolve().name.removesuffix(".gguf")
        swallow = any(token.rstrip for token in tokenizer.backend.added_tokens.values())
        if swallow and not _PHI3.search(name):
            return f"Phi-3 {name}"
        return name if swallow else _PHI3.sub("Phi 3", name)

    def _tokenizer_entries(self, tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
        metadata = self.checkpoint.tokenizer_metadata
        if metadata is None:
            return tokenizer_entries(tokenizer, rows, str(self.checkpoint.path))
        return {key: value for key, value in metadata.items() if key.startswith("tokenizer.")}

    def _types(self, graph: CheckedGraph) -> dict[str, tuple[str, str]]:
        """The type of each tensor of the file, and a note on it."""
        model, layers = self._model, int(graph.config["num_hidden_layers"])
        file_names = {name: model.architecture.file_name(name) for name in model.model.shapes}
        logits = _LOGITS if _LOGITS in file_names.values() else _TOKENS
        stacks = (shape for name, shape in model.model.shapes.items() if _STACK in file_names[name])
        experts = max((shape[0] for shape in stacks), default=0)
        found = dict.fromkeys(model.architecture.file_shapes(model.model), ("f32", ""))
        for name in model.matrices:
            file_name, weight = file_names[name], model.sources[name].tensor
            chosen = matrix_type(self.dtype, file_name, layers, file_name == logits, experts)
            if any(part in file_name for part in model.architecture.keeps_floats):
                chosen = AUTO
            elif name in model.steering:
                chosen = AUTO if is_quantized(self.checkpoint.tensors[weight].dtype) else "f32"
            for rule in self.rules:
                if rule.pattern.search(weight):
                    chosen = rule.dtype
            if chosen == AUTO:
                found[file_name] = (self._stored_type(weight), "")
                continue
            found[file_name] = _fitting(matrix_type(chosen, "", 0, False), model.model.shapes[name][-1])
        return found

    def _stored_type(self, weight: str) -> str:
        """The type in which the model has a matrix."""
        info = self.checkpoint.tensors[weight]
        found = info.stored.lower() or _STORED.get(str(info.dtype), "")
        if not found:
            raise CheckpointError(
                f"{self.checkpoint.path} is quantized already, and GGUF has no type for {info.dtype}, that of "
                f"{weight}: of quantized folders, {' and '.join(_STORED_INTEGERS)} can be written as they are, "
                "with --dtype auto."
            )
        return found

    def _require_agreement(self, graph: CheckedGraph, read: GgufCheckpoint) -> list[str]:
        names = {self._model.sources[name].tensor: name for name in self._model.sources}
        unknown = self._model.model.shapes.keys() & self.draft.tensors.keys()
        missing = [name for name in names.values() if name not in read.tensors or name in unknown]
        if missing:
            raise UsageError(
                f"no GGUF file can hold {self.checkpoint.path}: the architecture {self._model.name} there has no "
                f"tensor for {missing[0]}."
            )
        untold = self._model.architecture.untold
        return require_same_graph(self.checkpoint.path, self._model.name, graph, read, names, untold)

    def _planned(self, read: GgufCheckpoint, types: dict[str, tuple[str, str]]) -> list[PlannedFileTensor]:
        parts: dict[str, list[Part]] = {}
        for name, source in read.sources.items():
            parts.setdefault(source.name, []).append(Part(source, self._model.sources[name]))
        planned = []
        for name, each in self.draft.tensors.items():
            if name in self._contents:
                continue
            info = self.checkpoint.tensors[parts[name][0].weight.tensor]
            dtype, note = types[name]
            is_kept = is_quantized(info.dtype) and dtype in (info.stored.lower(), _STORED.get(str(info.dtype)))
            stored = info.stored.lower() or str(info.dtype)
            planned.append(PlannedFileTensor(name, each.shape, dtype, tuple(parts[name]), stored, is_kept, note))
        return planned

    @property
    def contents(self) -> dict[str, Any]:
        """Tensors of the file that are known before any weight is read."""
        return self._contents

    @property
    def weights(self) -> int:
        """How many numbers the model's tensors hold."""
        return sum(tensor.weights for tensor in self.tensors)

    def units(self) -> list[Unit]:
        """See `Mixable`."""
        patterns = [rule.pattern for rule in self.rules]
        found = []
        for tensor in self.calibrated:
            names = tuple(part.weight.tensor for part in tensor.parts)
            if tensor.name not in _TABLES and not any(pattern.search(name) for pattern in patterns for name in names):
                found.append(Unit(names, tensor.weights, _bits(tensor)))
        return found

    def table_rules(self, bits: float) -> dict[str, str]:
        """See `Mixable`."""
        return {
            part.weight.tensor: largest_within(bits, _bits(tensor), tensor.weights)
            for tensor in self.tensors
            if tensor.name in _TABLES
            for part in tensor.parts
        }

    @contextmanager
    def rounder(self, threads: int) -> Iterator[Rounder]:
        """See `Mixable`."""
        prepare(fitting_kernels(written_types().values()))
        pool = ThreadPool(threads, SCRATCH)
        rounder = BlockRounder(pool)
        try:
            yield rounder
        finally:
            rounder.close()
            pool.close()

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
            *self._notes,
            *self._rounded_twice(),
            *self._doubts,
        ]

    def _rounded_twice(self) -> list[str]:
        again = (tensor.stored for tensor in self.tensors if not tensor.is_kept)
        return rounded_twice(each for each in again if each not in (*_FLOATS, *_FLOATS.values()))

    @property
    def layout(self) -> Layout:
        """The one file."""
        starts = {name: each.start for name, each in self.draft.tensors.items()}
        return Layout((Shard(FILE, self.draft.header, starts, self.draft.size),), None, is_file=True)

    def unquantized(self) -> str:
        """None is worth a word: embeddings are quantized as well."""
        return ""

    def summary(self) -> str:
        """How large the file is."""
        return sizes(self.draft.size, self.weights)

    @property
    def needed_bytes(self) -> int:
        """What the file takes on the disk."""
        return -(-self.draft.size // DISK_BLOCK) * DISK_BLOCK

    def identity(self) -> str:
        """A hash of all that the result depends on, as of `QuantizeJob`."""
        text = [each.tobytes() for each in (*self.windows, *self.importance.values())]
        facts = (__version__, self.method, self.draft.header, stored_files(self.checkpoint.path), text)
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


def _bits(tensor: PlannedFileTensor) -> dict[str, float]:
    """The bits that a tensor takes in each type that scales and levels make and whose blocks fit."""
    return {
        name: 8.0 * tensor.weights / type.columns * type.nbytes
        for name, type in written_types().items()
        if type.with_places is not None and tensor.shape[-1] % type.columns == 0
    }


def _fitting(dtype: str, columns: int) -> tuple[str, str]:
    """The type, or the one that stands for it where its blocks do not divide the columns, and a note on that."""
    chosen = dtype
    while columns % written_types()[chosen].columns:
        chosen = written_types()[chosen].narrower.lower()
    note = f"{columns} columns are no multiple of {written_types()[dtype].columns}: {chosen} in place of {dtype}"
    return chosen, note if chosen != dtype else ""


def _tokenizer_of(checkpoint: Checkpoint, graph: CheckedGraph) -> Tokenizer:
    """The model's own: not that of a folder in which a GGUF file lies."""
    path, configs = checkpoint.path, (graph.config, checkpoint.generation_config)
    if checkpoint.tokenizer_metadata is None:
        return load_tokenizer(path, graph.tokenizer_config, *configs)
    return load_gguf_tokenizer(checkpoint.tokenizer_metadata, str(path), *configs, embedding_rows=graph.vocab_size)

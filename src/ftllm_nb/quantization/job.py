"""A quantized copy of a model that is to be made: what is asked for, and all that follows from it."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ftllm_nb import __version__
from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.config import read_json_object
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.engine.weight_types import AS_STORED, Rule, embedding_weights
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import Value
from ftllm_nb.kernels.compile import Kernel, prepare
from ftllm_nb.loading import describe
from ftllm_nb.quant.base import WeightFormat
from ftllm_nb.quant.blocks import BlockFormat, fitting_type
from ftllm_nb.quantization.block_fitting import SCRATCH, BlockRounder, fitting_kernels, written_type
from ftllm_nb.quantization.calibration.text import read_windows
from ftllm_nb.quantization.calibration.walk import multiplied
from ftllm_nb.quantization.fitting import FolderRounder
from ftllm_nb.quantization.folder_files import CONFIG, copied_files
from ftllm_nb.quantization.folder_form import FolderForm
from ftllm_nb.quantization.gguf.as_floats import FloatCheckpoint, folder_files, rounded_twice
from ftllm_nb.quantization.gguf.imatrix_file import Importance, file_names, importance_of, is_imatrix
from ftllm_nb.quantization.grids import Grid
from ftllm_nb.quantization.identity import stored_files
from ftllm_nb.quantization.methods import UNCALIBRATED, is_calibrated
from ftllm_nb.quantization.mixable import Mixable, Rounder, Unit, largest_within
from ftllm_nb.quantization.options import QuantizeOptions
from ftllm_nb.quantization.partial import DISK_BLOCK
from ftllm_nb.quantization.plan import AUTO, plan_kept, plan_tensors, refuse_quantized
from ftllm_nb.quantization.rows import rows_kernel
from ftllm_nb.quantization.shards import Layout, lay_out
from ftllm_nb.quantization.table import plan_table, sizes
from ftllm_nb.quantization.tensors import PlannedTensor
from ftllm_nb.quantization.unstacked import UnstackedCheckpoint
from ftllm_nb.quantized_type import BlockedType, QuantizedType

_TURNED = (
    "matrices that the model stores as [in, out] are written as [out, in], which config.json's stores_transposed says: "
    "other programs do not load that."
)


class QuantizeJob(Mixable):
    """A model and what is to be made of it. Raises `FtllmError`s for what cannot be done; reads no weight."""

    def __init__(self, checkpoint: Checkpoint, options: QuantizeOptions, form: FolderForm) -> None:
        if options.dtype != AUTO:
            refuse_quantized(checkpoint)
        self.checkpoint = checkpoint
        self.options = options
        self.format = form
        self.graph = graph = describe(checkpoint, options.custom)
        self.unread_tensors = graph.unread_tensors
        if options.dtype == AUTO:
            self.tensors = plan_kept(checkpoint, graph)
        else:
            self.tensors = plan_tensors(
                checkpoint, graph, options.dtype, options.rules, self.format, symmetric=options.symmetric,
                turns=options.custom is None,
            )  # fmt: skip
        self.copies = copied_files(checkpoint.path, options.custom)
        self._beside = folder_files(checkpoint)
        is_file = checkpoint.tokenizer_metadata is not None
        self._config = dict(checkpoint.config) if is_file else read_json_object(checkpoint.path / CONFIG)
        if self._turns:
            self._config["stores_transposed"] = False
        self.calibrated = self._calibrated()
        self.importance: Importance = {}
        self.windows: list[NDArray[np.int32]] = []
        self._doubts: list[str] = []
        if self.calibrated and is_imatrix(options.calibration):
            self._read_importance(str(options.calibration))
        elif self.calibrated:
            self.windows, self._doubts = read_windows(
                checkpoint, graph, options.calibration, options.calibration_tokens
            )

    def _read_importance(self, path: str) -> None:
        """Take what a file of importance says; tensors of which it says nothing are not calibrated."""
        names = file_names(self.checkpoint, self.graph)
        columns = {names[tensor.name]: tensor.shape[1] for tensor in self.calibrated if tensor.name in names}
        found = importance_of(path, self.options.method, self.options.calibration_tokens, columns)
        self.calibrated = [tensor for tensor in self.calibrated if names.get(tensor.name) in found]
        self.importance = {tensor.name: found[names[tensor.name]] for tensor in self.calibrated}

    @property
    def stored_bytes(self) -> int:
        """Bytes of the model's tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def weights(self) -> int:
        """How many numbers the model's tensors hold."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    def notes(self) -> list[str]:
        """Sentences that are worth saying once: rules that match nothing, where the folder cannot be used."""
        names = [tensor.name for tensor in self.tensors]
        unused = [rule.text for rule in self.options.rules if not any(map(rule.pattern.search, names))]
        idle = [rule.text for rule in self.options.rules if rule.text not in unused and self._is_idle(rule)]
        return [
            *(f"no weight has a name in which the rule {rule} is found." for rule in unused),
            *(f"the rule {rule} changes nothing: what it names is not quantized." for rule in idle),
            *(
                f"{note} ({count} matri{'x' if count == 1 else 'ces'}): --dry_run shows what is taken instead."
                for note, count in Counter(tensor.note for tensor in self.tensors if tensor.note).items()
            ),
            *([_TURNED] if self._turns else self.format.notes(self.tensors)),
            *self._doubts,
            *self._rounded_twice(),
        ]

    def _rounded_twice(self) -> list[str]:
        if not isinstance(self.checkpoint, (FloatCheckpoint, UnstackedCheckpoint)):
            return []
        rounded, names = self.checkpoint.rounded, [tensor.name for tensor in self.tensors if tensor.is_rounded]
        return rounded_twice(rounded[name] for name in names if name in rounded)

    def _calibrated(self) -> list[PlannedTensor]:
        """The tensors that the method quantizes by what a text makes of their inputs."""
        if not is_calibrated(self.options.method):
            return []
        quantized = {tensor.name for tensor in self.tensors if tensor.is_rounded}
        multiplied_ones = multiplied(self.graph, quantized)
        return [tensor for tensor in self.tensors if tensor.name in multiplied_ones]

    def units(self) -> list[Unit]:
        """See `Mixable`."""
        named = [rule.pattern for rule in self.options.rules]
        tables = {value.tensor for value in embedding_weights(self.graph)}
        return [
            Unit((tensor.name,), math.prod(tensor.shape), self._bits(tensor))
            for tensor in self.calibrated
            if tensor.name not in tables and not any(pattern.search(tensor.name) for pattern in named)
        ]

    def table_rules(self, bits: float) -> dict[str, str]:
        """See `Mixable`."""
        if self.format.table_dtype(self.options.dtype) == AUTO:
            raise UsageError(
                f"--embedding_bits is not for --format {self.options.format}, where embeddings stay floats."
            )
        tables = {value.tensor for value in embedding_weights(self.graph)}
        return {
            tensor.name: largest_within(bits, self._bits(tensor), math.prod(tensor.shape))
            for tensor in self.tensors
            if tensor.name in tables and tensor.is_rounded
        }

    def _bits(self, tensor: PlannedTensor) -> dict[str, float]:
        """The bits that a tensor takes in each type whose groups fit."""
        found, types = {}, self.format.types()
        for name in self.format.mixed_dtypes():
            type = types[name]
            if isinstance(type, BlockedType):
                if fitting_type(name, tensor.shape[1]) != name or not self.options.symmetric:
                    continue
                made = replace(tensor, scheme=None, blocks=type)
            elif type.group and tensor.shape[1] % type.group:
                continue
            else:
                scheme = self.format.scheme(type.bits, type.group, self.options.symmetric)
                made = replace(tensor, scheme=scheme, blocks=None)
            found[name] = 8.0 * sum(output.nbytes for output in self.format.outputs(made))
        return found

    @contextmanager
    def rounder(self, threads: int) -> Iterator[Rounder]:
        """See `Mixable`."""
        names = {name for unit in self.units() for name in unit.bits}
        prepare(_fitting_kernels(type for name, type in self.format.types().items() if name in names))
        pool = ThreadPool(threads, SCRATCH)
        blocks = BlockRounder(pool)
        try:
            yield FolderRounder(self.format, self.options.symmetric, pool, blocks)
        finally:
            blocks.close()
            pool.close()

    @property
    def _turns(self) -> bool:
        return any(tensor.turned for tensor in self.tensors)

    def _is_idle(self, rule: Rule) -> bool:
        """Whether a rule asks for a type to round to where none can be."""
        named = [tensor for tensor in self.tensors if rule.pattern.search(tensor.name)]
        return rule.dtype in self.format.types() and not any(tensor.is_rounded for tensor in named)

    @cached_property
    def layout(self) -> Layout:
        """Where the new tensors will lie."""
        return lay_out([self.format.outputs(tensor) for tensor in self.tensors], self.options.largest_shard)

    def texts(self, sums: Mapping[str, int]) -> dict[str, bytes]:
        """Files that are written anew. `sums`: see `FolderForm.config`."""
        config = json.dumps(self.format.config(self._config, self.tensors, sums), indent=2) + "\n"
        return {CONFIG: config.encode(), **self._beside}

    def summary(self) -> str:
        """How large the folder is."""
        return sizes(sum(shard.size for shard in self.layout.shards), self.weights)

    def unquantized(self) -> str:
        """Which matrices are not quantized: `; model.embed_tokens.weight stays float32, 24.5 MB`. "" where all are."""
        kept = [each for each in self.tensors if len(each.shape) == 2 and not each.is_rounded and each.kept is None]
        if not kept:
            return ""
        largest = sorted(kept, key=lambda each: -each.nbytes)[:2]
        names = " and ".join([*(each.name for each in largest), *[f"{len(kept) - 2} more"] * (len(kept) > 2)])
        types = " and ".join(dict.fromkeys(each.dtype for each in largest))
        size = sum(each.nbytes for each in kept)
        return f"; {names} stay{'s' * (len(kept) == 1)} {types}, {size / 1e6:,.1f} MB of it"

    @property
    def needed_bytes(self) -> int:
        """What the new folder takes on the disk, files rounded up to its blocks."""
        sizes = [shard.size for shard in self.layout.shards]
        sizes += [source.stat().st_size for source in self.copies.values()]
        sizes += [len(text) for text in (*self.texts({}).values(), (self.layout.index or "").encode())]
        return sum(-(-size // DISK_BLOCK) * DISK_BLOCK for size in sizes)

    def table(self) -> str:
        """What the folder will be, a line a tensor."""
        return plan_table(self.tensors, self.format)

    @property
    def row_method(self) -> str:
        """The method of tensors that are not calibrated."""
        return UNCALIBRATED if is_calibrated(self.options.method) else self.options.method

    def kernels(self) -> dict[PlannedTensor, Kernel]:
        """The kernel that quantizes each tensor that has a scheme and is not calibrated."""
        return {
            tensor: rows_kernel(self.row_method)
            for tensor in self.tensors
            if tensor.scheme is not None and tensor not in self.calibrated
        }

    def kept_matrices(self) -> dict[str, tuple[Value, WeightFormat]]:
        """The weights that keep their types, and the formats that they have in memory, by the tensors' names."""
        kept = {tensor.name for tensor in self.tensors if tensor.kept is not None}
        format_of = AS_STORED.formats(self.graph)
        return {value.tensor: (value, format_of(value)) for value in self.graph.packed if value.tensor in kept}

    def other_kernels(self) -> list[Kernel]:
        """Those that tensors need which are calibrated, or become blocks."""
        blocks = {tensor.blocks for tensor in self.tensors if tensor.blocks is not None}
        found = [BlockFormat(type.name).pack_kernel(type) for type in blocks]
        found += [kernel for type in blocks for kernel in written_type(type).kernels(self.row_method)]
        return found + _fitting_kernels({each.rounded_type for each in self.calibrated if each.rounded_type})

    def identity(self) -> str:
        """A hash of all that the result depends on: a run that goes on with another's work must have the same."""
        tensors = [(each.name, each.shape, each.dtype, str(each.blocks or each.scheme)) for each in self.tensors]
        weights = stored_files(self.checkpoint.path)
        shards = [(shard.name, shard.size) for shard in self.layout.shards]
        text = [each.tobytes() for each in (*self.windows, *self.importance.values())]
        facts = (__version__, self.options.method, self.options.format, tensors, weights, shards, self.texts({}), text)
        return hashlib.sha256(repr(facts).encode()).hexdigest()


def _fitting_kernels(types: Iterable[QuantizedType | BlockedType]) -> list[Kernel]:
    """Those with which methods that look at a text fit matrices to these types."""
    given = list(types)
    found = [kernel for type in given if isinstance(type, QuantizedType) for kernel in Grid.of(type).kernels()]
    return found + fitting_kernels(written_type(type) for type in given if isinstance(type, BlockedType))

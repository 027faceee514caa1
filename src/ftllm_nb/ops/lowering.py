"""What an operator may ask for while it is lowered to rows of a program.

An operator with a compiled kernel has a classmethod `lower(node, lowering)` that adds rows; one without runs as
a host step that evaluates its NumPy reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array
from ftllm_nb.quant.base import WeightFormat

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import Kernel


class Tensor(Protocol):
    """A value of the graph."""

    @property
    def name(self) -> str:
        """The user's name."""

    @property
    def type(self) -> TensorType:
        """Shape and element type."""


class LoweredNode(Protocol):
    """An operator at work: what it reads and writes, by parameter."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Tensors that are read."""

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Tensors that are written."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Constants: a number each, or a tuple."""

    @property
    def forms(self) -> Mapping[str, Any]:
        """The form of quant/activations.py in which an output is to be written, by parameter; others are float32."""


@dataclass(frozen=True)
class Place:
    """Where an activation lies: the address of its first token's float32 features, bytes from token to token."""

    address: int
    stride: int


@dataclass(frozen=True)
class PackedWeight:
    """One or more matrices of equal columns, packed one after the other, each padded to whole blocks of rows.

    `columns`: with padding; `block_bytes`: from one block of rows to the next.
    """

    address: int
    num_blocks: int
    block_bytes: int
    columns: int
    format: WeightFormat


@dataclass(frozen=True)
class PackedMatrices:
    """Matrices of one shape, each packed by itself. `addresses`: where each begins; `num_blocks`: of each; `columns`,
    `block_bytes`: as of `PackedWeight`."""

    addresses: tuple[int, ...]
    num_blocks: int
    block_bytes: int
    columns: int
    format: WeightFormat


@dataclass(frozen=True)
class CachePlaces:
    """A layer's share of a cache block: offsets in bytes of keys and values; `kind`: the cache's type's code; `group`:
    whose blocks they are, of the groups that a sequence has a table for."""

    keys: int
    values: int
    kind: int
    group: int = 0


@dataclass(frozen=True)
class StatePlace:
    """Where a state lies among those of a sequence, in bytes; `is_half`: as float16, in place of float32."""

    offset: int
    is_half: bool = False


@dataclass(frozen=True)
class Reads:
    """The weights that a row reads, chunk by chunk, or as much as that of something else: by this the walk decides how
    many workers a row is worth, and what to fetch before it begins.

    `chunk_bytes`: of a chunk; 0 where nobody knows: a chunk is worth a worker then. `address`: where the first one of
    `chunks` begins that lie one after the other; 0 where they do not, or nobody knows."""

    chunk_bytes: int = 0
    address: int = 0
    chunks: int = 0


NOTHING = Reads()


class Lowering(Protocol):
    """Memory and rows for one program."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The model's config, as build() left it."""

    def add(self, kernel: Kernel, *arguments: int | float, reads: Reads = NOTHING) -> None:
        """Append a row: addresses and sizes as int, scalars as float."""

    def part(self, name: str, weights: Sequence[Tensor] = ()) -> None:
        """What the operator's rows from here on are called in a profile, and the matrices of it that they read."""

    def place(self, tensor: Tensor) -> Place:
        """Where an activation lies."""

    def count(self, tensor: Tensor) -> int:
        """The field of the step's header that holds the number of an activation's tokens (or rows)."""

    def weight(self, tensors: Sequence[Tensor]) -> PackedWeight:
        """Matrices [rows, columns], or stacks of them [matrices, rows, columns], packed together."""

    def matrices(self, tensors: Sequence[Tensor]) -> PackedMatrices:
        """The same of one shape, each matrix wherever it lies: maybe in the model's file, mapped into memory."""

    def table(self, numbers: Sequence[int]) -> int:
        """Address of these numbers, int64."""

    def vector(self, tensors: Sequence[Tensor | None], sizes: Sequence[int], plus: float = 0.0) -> int:
        """Address of vectors of the given sizes, float32, each padded with zeros to a multiple of 16; None is zeros.
        `plus` is added to each number that is no padding."""

    def columns(self, tensor: Tensor) -> int:
        """Address of a small matrix [rows, …], float32, column by column, each padded with zeros to 16s."""

    def rope_table(self, tensor: Tensor) -> int:
        """Address of the input `sin` or `cos`: float32 [positions, angles]."""

    def position_tables(
        self, name: str, columns: int, count: int, make: Callable[[Array], tuple[Array, ...]]
    ) -> tuple[int, ...]:
        """Addresses of `count` tables, float32 [positions, columns] each, made as far as steps go.

        `make` gives the rows of [n] positions, an array for each table; `name` names all that they are made of.
        """

    def limit_ids(self, tensor: Tensor, rows: int) -> None:
        """Say that the values of the input `inputIds` or `positionIds` index a table of that many rows."""

    def cache(self, key: Tensor) -> CachePlaces:
        """The places of the layer whose keys' cache this is."""

    def state(self, tensor: Tensor) -> StatePlace:
        """The place of a state; see kernels/states.py."""

    def failure_word(self, error: Callable[[int], Exception]) -> int:
        """Address of an int64 that a kernel sets where it fails; then the step ends with the error for that number."""

    @property
    def most_tokens(self) -> int:
        """Of a step."""

    def temporary(self, name: str, size: int) -> int:
        """Address of `size` bytes for what rows of one operator leave to its later ones; operators that ask for as much
        under the same name share them."""

    def routes(self, units: int, experts: int) -> None:
        """Say where kernels/experts.py writes which of so many experts a step reads."""

    def need_scratch(self, size: int) -> None:
        """Ask for that many bytes of private memory for each worker."""

    def need_partials(self, floats: int) -> None:
        """Say how many floats a single token's attention over one cache block leaves."""

    def need_tiles(self, tokens: int) -> None:
        """Say of how many tokens an attention's tile may be at most."""


def features(tensor: Tensor) -> int:
    """Features of one token: the product of the axes after the first two."""
    size = 1
    for axis in range(2, tensor.type.rank):
        size *= tensor.type.size(axis)
    return size


def lower_each(
    lowering: Lowering, kernel: Kernel, first: Tensor, second: Tensor, target: Tensor, alpha: float = 1.0
) -> None:
    """A row of one of the kernels in kernels/elementwise.py that combine two tensors feature by feature."""
    out, a, b = lowering.place(target), lowering.place(first), lowering.place(second)
    lowering.add(
        kernel, a.address, a.stride, b.address, b.stride, out.address, out.stride, features(target),
        lowering.count(first), alpha,
    )  # fmt: skip


def lower_runs(
    lowering: Lowering, source: Tensor, target: Tensor, axis: int, start: int = 0, target_start: int = 0
) -> None:
    """A row that copies a part of an axis to a part of the same axis of another tensor.

    What is copied begins at `start` and `target_start`, and ends with whichever tensor ends first.
    """
    from ftllm_nb.kernels.elementwise import copy_runs

    read, written = lowering.place(source), lowering.place(target)
    inner = math.prod(target.type.size(at) for at in range(axis + 1, target.type.rank))
    outer = math.prod(target.type.size(at) for at in range(2, axis))
    size = min(source.type.size(axis) - start, target.type.size(axis) - target_start) * inner
    lowering.add(
        copy_runs, read.address + 4 * start * inner, read.stride, 4 * source.type.size(axis) * inner,
        written.address + 4 * target_start * inner, written.stride, 4 * target.type.size(axis) * inner, size, outer,
        lowering.count(source),
    )  # fmt: skip

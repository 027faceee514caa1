"""A program: what lowering makes of a graph, and what the walker and the engine need to run it.

It is a list of segments: tables of rows for the walker, and host steps (Print, Exit, operators that have only a NumPy
reference) between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.graph.ir import Node, Value
from ftllm_nb.graph.position_tables import PositionTables
from ftllm_nb.graph.weight_memory import WeightPart
from ftllm_nb.ops.lowering import Place
from ftllm_nb.ops.reach import Reach

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import Kernel


@dataclass(frozen=True)
class VectorPart:
    """A vector of the checkpoint, or a small matrix, its float32 memory, and what is added to each number."""

    weight: Value
    target: NDArray[np.float32]
    plus: float


@dataclass(frozen=True)
class RowLabel:
    """What a row of a program belongs to: an operator, the matrices that it reads, the layer (None: outside of all).

    `is_product`: whether rows are multiplied by the matrices, not looked up in them. `attended`, `share`: see `Work`.
    `recurrent`: see there, too; of an operator's rows the first alone has it. `reach`: of attention, how far back it
    sees.
    """

    operator: str
    weights: tuple[Value, ...]
    layer: int | None
    is_product: bool = False
    attended: int = 0
    share: float = 1.0
    recurrent: int = 0
    reach: Reach = field(default_factory=Reach)


class RowTime(NamedTuple):
    """What was seen of a row in a step: the seconds that it took, and how many chunks it handed out, each of which
    takes as long as `chunk_bytes` of memory (0: nobody knows)."""

    label: RowLabel
    seconds: float
    chunks: int
    chunk_bytes: int


@dataclass
class Needs:
    """What the graph's operators need of the engine."""

    scratch_bytes: int = 64 << 10
    partial_floats: int = 0
    tile_tokens: int = 1 << 30
    id_rows: dict[str, int] = field(default_factory=dict)


@dataclass
class Program:
    """A lowered graph. `segments`: int64 [rows, ROW_FIELDS] tables, and nodes to evaluate on the host.

    `labels`, `nodes`: of each segment's rows. `tables`: to be filled as far as a step's positions go. `memory` keeps
    alive what the rows point to. `peaks`: of each row of logits, the largest of each run; see kernels/peaks.py.
    """

    segments: list[NDArray[np.int64] | Node]
    labels: list[list[RowLabel]]
    nodes: list[list[Node | None]]
    kernels: list[Kernel]
    places: dict[Value, Place]
    weights: list[WeightPart]
    vectors: list[VectorPart]
    needs: Needs
    tables: dict[str, PositionTables]
    memory: list[NDArray[np.uint8]]
    arena: NDArray[np.uint8]
    peaks: NDArray[np.float32]
    routings: list[tuple[int, int]] = field(default_factory=list)
    """Addresses of the units of kernels/experts.py, and how many experts there are, in the order of the rows."""
    failures: list[tuple[NDArray[np.int64], Callable[[int], Exception]]] = field(default_factory=list)
    """Words that kernels set where they fail, and the errors."""

    def raise_failures(self) -> None:
        """Raise the error of a kernel that failed in the walk that has ended."""
        for word, error in self.failures:
            if word[0]:
                number, word[0] = int(word[0]), 0
                raise error(number)

    def link(self) -> None:
        """Write the kernels' addresses into the rows; they must be compiled."""
        for segment in self.segments:
            if isinstance(segment, np.ndarray):
                segment[:, 0] = [self.kernels[index].address for index in segment[:, 0]]

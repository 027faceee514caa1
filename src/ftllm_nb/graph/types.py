"""Types of the tensors that flow through a graph: shapes that may hold symbols, and element types.

Activations are `[1, TOKENS, features]`: the tokens of all sequences of a step, laid end to end. After
`SplitLastTokenStates` they are `[1, ROWS, features]`: the sequences whose logits are wanted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from ftllm_nb.quantized_type import ElementType

FLOAT_TYPES = ("float32", "float16", "bfloat16")
"""Element types that a weight may have in a checkpoint; intermediates are float32."""


WORDS = "words"
"""Element type of activations in a form of quant/activations.py: 4 bytes, whatever they hold."""
MARKER = "marker"
"""Element type of the inputs that say something but hold no values: `atype` and `attentionMask`."""


class Symbol(Enum):
    """A size that is known only when a step runs."""

    TOKENS = "tokens"
    """Tokens of all sequences of the step."""
    ROWS = "rows"
    """Sequences of the step whose logits are wanted."""
    SEQUENCES = "sequences"
    """Sequences of the step."""
    CACHED = "cached"
    """Positions of one sequence that are in the KV cache."""


Dimension = int | Symbol


@dataclass(frozen=True)
class TensorType:
    """Shape and element type ("float32", "int32", a weight's own type, `WORDS` or `MARKER`)."""

    shape: tuple[Dimension, ...]
    dtype: ElementType = "float32"

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def size(self, axis: int) -> int:
        """The size of an axis that must be known before a step runs; raises `ShapeError` for a symbol."""
        size = self.shape[axis]
        if isinstance(size, Symbol):
            raise ShapeError(f"axis {axis % self.rank} of {self} is known only when a step runs")
        return size

    @property
    def matrices(self) -> tuple[int, int, int]:
        """How many matrices a weight of rank 2 or more is, and their rows and columns: the last two axes."""
        sizes = [self.size(axis) for axis in range(self.rank)]
        return math.prod(sizes[:-2]), sizes[-2], sizes[-1]

    def with_shape(self, *shape: Dimension) -> TensorType:
        """The same element type in another shape."""
        return TensorType(shape, self.dtype)

    def __str__(self) -> str:
        return f"{format_shape(self.shape)} {self.dtype}"


def format_shape(shape: tuple[Dimension, ...]) -> str:
    """A shape as error sentences show it: `[1, tokens, 896]`."""
    return "[" + ", ".join(size.value if isinstance(size, Symbol) else str(size) for size in shape) + "]"


class ShapeError(Exception):
    """An operator's shape rule is broken. The checker adds the operator, the line and the tensors.

    `sizes` are the sizes that disagree: the checker names the config's entries that have these values.
    """

    def __init__(self, message: str, *sizes: Dimension) -> None:
        super().__init__(message)
        self.sizes = sizes

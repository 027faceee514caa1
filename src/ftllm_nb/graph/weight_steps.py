"""What may be done with a tensor of the checkpoint before it is a weight: each step is one change, applied at load.

JSON has a step as a list: its name, then its numbers, as ["rows", 0, 64].
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.graph.types import ShapeError

Shape = tuple[int, ...]


class WeightStep(ABC):
    """A subclass is a frozen dataclass of numbers; wrong ones raise `ValueError` with the end of a sentence."""

    name: ClassVar[str]
    """The method of `WeightReference`, and the name in JSON."""
    computes: ClassVar[bool] = False
    """Whether numbers change; where False they only move, and may be of any type."""

    @abstractmethod
    def text(self, weight: str) -> str:
        """The result as a user would write it, from the text of what it is made of."""

    @abstractmethod
    def shape(self, shape: Shape) -> Shape:
        """The result's shape; raises `ShapeError`."""

    @abstractmethod
    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """The result; where the step computes, from float32 to float32."""

    def as_json(self) -> list[Any]:
        """Name and numbers."""
        return [self.name, *(part for field in astuple(self) for part in _flat(field))]  # type: ignore[call-overload]


def _flat(field: Any) -> Sequence[Any]:
    return field if isinstance(field, tuple) else (field,)


@dataclass(frozen=True)
class Plus(WeightStep):
    """weight + number"""

    number: float
    name = "plus"
    computes = True

    def __post_init__(self) -> None:
        _require_finite(self.number)

    def text(self, weight: str) -> str:
        return f"({weight} + {self.number:g})"

    def shape(self, shape: Shape) -> Shape:
        return shape

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(array + np.float32(self.number))


@dataclass(frozen=True)
class Times(WeightStep):
    """weight · number"""

    number: float
    name = "times"
    computes = True

    def __post_init__(self) -> None:
        _require_finite(self.number)

    def text(self, weight: str) -> str:
        return f"({weight} * {self.number:g})"

    def shape(self, shape: Shape) -> Shape:
        return shape

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(array * np.float32(self.number))


@dataclass(frozen=True)
class Rows(WeightStep):
    """The rows start … end − 1: a slice of the first axis."""

    start: int
    end: int
    name = "rows"

    def __post_init__(self) -> None:
        _require_whole(self.start, self.end)

    def text(self, weight: str) -> str:
        return f"{weight}.rows({self.start}, {self.end})"

    def shape(self, shape: Shape) -> Shape:
        if not shape or not 0 <= self.start < self.end <= shape[0]:
            size = shape[0] if shape else 0
            raise ShapeError(f"rows {self.start} to {self.end} must be within the first axis: 0 ≤ start < end ≤ {size}")
        return (self.end - self.start, *shape[1:])

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        return array[self.start : self.end]


@dataclass(frozen=True)
class Part(WeightStep):
    """A slice start … end − 1 of an axis."""

    axis: int
    start: int
    end: int
    name = "part"

    def __post_init__(self) -> None:
        _require_whole(self.axis, self.start, self.end)

    def text(self, weight: str) -> str:
        return f"{weight}.part({self.axis}, {self.start}, {self.end})"

    def shape(self, shape: Shape) -> Shape:
        if not -len(shape) <= self.axis < len(shape):
            raise ShapeError(f"axis {self.axis} does not exist: it has {len(shape)} axes")
        axis = self.axis % len(shape)
        if not 0 <= self.start < self.end <= shape[axis]:
            raise ShapeError(
                f"part {self.start} to {self.end} must be within axis {self.axis}: 0 ≤ start < end ≤ {shape[axis]}"
            )
        return (*shape[:axis], self.end - self.start, *shape[axis + 1 :])

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        return array[(slice(None),) * (self.axis % array.ndim) + (slice(self.start, self.end),)]


@dataclass(frozen=True)
class Transposed(WeightStep):
    """The last two axes change places."""

    name = "transposed"

    def text(self, weight: str) -> str:
        return f"{weight}.transposed()"

    def shape(self, shape: Shape) -> Shape:
        if len(shape) < 2:
            raise ShapeError(f"what is transposed must have at least 2 axes, and it has {len(shape)}")
        return (*shape[:-2], shape[-1], shape[-2])

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        return array.swapaxes(-1, -2)


@dataclass(frozen=True)
class Reshaped(WeightStep):
    """The same numbers in another shape, in which −1 may stand for one size."""

    sizes: tuple[int, ...]
    name = "reshaped"

    def __post_init__(self) -> None:
        _require_whole(*self.sizes)
        if not self.sizes or self.sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in self.sizes):
            raise ValueError(f"needs sizes of at least 1, of which −1 may stand for one, not {list(self.sizes)}")

    def text(self, weight: str) -> str:
        return f"{weight}.reshaped({', '.join(map(str, self.sizes))})"

    def shape(self, shape: Shape) -> Shape:
        total, known = math.prod(shape), math.prod(size for size in self.sizes if size != -1)
        if total % known or (-1 not in self.sizes and total != known):
            raise ShapeError(f"{total} numbers cannot have the shape {list(self.sizes)}")
        return tuple(total // known if size == -1 else size for size in self.sizes)

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        return array.reshape(self.sizes)


STEPS: dict[str, type[WeightStep]] = {step.name: step for step in (Plus, Times, Rows, Part, Transposed, Reshaped)}


def step_from_json(entry: Any) -> WeightStep:
    """The step of a list; raises `ValueError` with the rest of a sentence."""
    if not isinstance(entry, list) or not entry or entry[0] not in STEPS:
        raise ValueError(f"must have steps that are lists, each beginning with one of {', '.join(STEPS)}.")
    step = STEPS[entry[0]]
    given: list[Any] = [tuple(entry[1:])] if step is Reshaped else entry[1:]
    try:
        return step(*given)
    except TypeError:
        raise ValueError(f'has the step "{step.name}" with {len(entry) - 1} numbers.') from None
    except ValueError as error:
        raise ValueError(f'has the step "{step.name}", which {error}.') from None


def _require_finite(number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, numbers.Real) or not math.isfinite(np.float32(number)):
        raise ValueError(f"needs a finite number, not {number!r}")


def _require_whole(*found: object) -> None:
    for number in found:
        if isinstance(number, bool) or not isinstance(number, numbers.Integral):
            raise ValueError(f"needs whole numbers, not {number!r}")

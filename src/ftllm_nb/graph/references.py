"""The names that a build() passes to operators: `weight["model.layers."][3][".mlp.up_proj.weight"]`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.nearest import did_you_mean
from ftllm_nb.graph.source import caller_location
from ftllm_nb.graph.weight_steps import Part, Plus, Reshaped, Rows, Times, Transposed, WeightStep

SomeReference = TypeVar("SomeReference", bound="Reference")


@dataclass(frozen=True)
class Reference:
    """A tensor by name; indexing appends to the name."""

    name: str = ""

    def __getitem__(self: SomeReference, key: str | int) -> SomeReference:
        if isinstance(key, bool) or not isinstance(key, (str, int)):
            raise GraphError(
                f"a tensor's name is made of strings and whole numbers, but it was indexed with {key!r}.",
                *caller_location(),
            )
        return type(self)(f"{self.name}{key}")

    def __setitem__(self, key: object, value: object) -> None:
        raise self._error(
            "names, not tables: nothing is assigned to them; an operator writes the data that it is given as its "
            'output, as self.Silu(data["x"], data["y"])'
        )

    if not TYPE_CHECKING:  # a checker of types knows the names that there are

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):
                raise AttributeError(name)  # what copy and pickle ask for
            if not self.name:
                raise self._error(f'names of tensors: write ["{name}"] for .{name}')
            methods = [each for each in dir(type(self)) if not each.startswith("_")]
            raise self._error(f'names: "{self.name}" has no .{name}{did_you_mean(name, methods).rstrip(".")}')

    def __iter__(self) -> Iterator[str]:
        raise self._is_no_collection()

    def __contains__(self, key: object) -> bool:
        raise self._is_no_collection()

    def _is_no_collection(self) -> GraphError:
        return self._error("names, not collections: build() cannot ask which tensors exist")

    def _error(self, what_they_are: str) -> GraphError:
        end = "" if what_they_are.endswith("?") else "."
        return GraphError(f"data[…] and weight[…] are {what_they_are}{end}", *caller_location())


class DataReference(Reference):
    """An input, an intermediate or the output `logits`."""

    def _computed(self, *others: object) -> NoReturn:
        raise GraphError(
            f'data["{self.name}"] is a name, and no array to compute with here: call an operator, as '
            'self.AddTo(data["x"], data["y"]), self.MulTo(data["x"], data["y"]) or '
            'self.Mul(data["x"], 0.5, data["y"]).',
            *caller_location(),
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _computed
    __matmul__ = __rmatmul__ = __pow__ = __neg__ = _computed


@dataclass(frozen=True)
class WeightReference(Reference):
    """A tensor of the checkpoint, or what is computed from one: `1 + w`, `w * 0.5`, `w.transposed()`.

    `steps`: what is done with the tensor, once, when it is loaded; a matrix is quantized after that.
    """

    steps: tuple[WeightStep, ...] = ()

    def __getitem__(self, key: str | int) -> WeightReference:
        if self.steps:
            raise GraphError(
                f"{self.text} is computed, and has no name to append {key!r} to: index first, and take a slice of rows "
                "with rows(start, end).",
                *caller_location(),
            )
        return super().__getitem__(key)

    @property
    def text(self) -> str:
        """The name, or how it is computed, as one would write it."""
        text = self.name
        for step in self.steps:
            text = step.text(text)
        return text

    def __add__(self, number: float) -> WeightReference:
        return self._then(Plus, number)

    def __mul__(self, number: float) -> WeightReference:
        return self._then(Times, number)

    __radd__ = __add__
    __rmul__ = __mul__

    def _refused(self, *others: object) -> NoReturn:
        raise GraphError(
            f'weight["{self.text}"] can be added to a number and multiplied by one, as 1 + weight["x"] or '
            '0.5 * weight["x"], before the model runs; other than that, operators compute.',
            *caller_location(),
        )

    __sub__ = __rsub__ = __truediv__ = __rtruediv__ = __matmul__ = __rmatmul__ = __pow__ = __neg__ = _refused

    def rows(self, start: int, end: int) -> WeightReference:
        """The rows start … end − 1, as of one of several matrices that are stored as one."""
        return self._then(Rows, start, end)

    def part(self, axis: int, start: int, end: int) -> WeightReference:
        """start … end − 1 of an axis; a negative axis counts from the last."""
        return self._then(Part, axis, start, end)

    def transposed(self) -> WeightReference:
        """With the last two axes exchanged: a matrix stored as [in features, out features], as GPT-2's are."""
        return self._then(Transposed)

    def reshaped(self, *sizes: int) -> WeightReference:
        """The same numbers in another shape, in which −1 may stand for one size."""
        return self._then(Reshaped, sizes)

    def _then(self, step: type[WeightStep], *numbers: Any) -> WeightReference:
        try:
            return WeightReference(self.name, (*self.steps, step(*numbers)))
        except ValueError as error:
            raise GraphError(f'"{step.name}" of weight "{self.text}" {error}.', *caller_location()) from None


@dataclass(frozen=True)
class ConfigReference:
    """A number that is looked up in the config when the graph is checked; only JSON graphs hold these."""

    name: str


Argument = Reference | ConfigReference | int | float | tuple[int, ...] | tuple[WeightReference, ...] | None
"""What a call may hold; None is an optional weight that was left out."""

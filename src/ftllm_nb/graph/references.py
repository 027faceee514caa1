"""The names that a build() passes to operators: `weight["model.layers."][3][".mlp.up_proj.weight"]`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.source import caller_location

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

    def __iter__(self) -> Iterator[str]:
        raise self._is_no_collection()

    def __contains__(self, key: object) -> bool:
        raise self._is_no_collection()

    def _is_no_collection(self) -> GraphError:
        return GraphError(
            "data[…] and weight[…] are names, not collections: build() cannot ask which tensors exist.",
            *caller_location(),
        )


class DataReference(Reference):
    """An input, an intermediate or the output `logits`."""


class WeightReference(Reference):
    """A tensor of the checkpoint."""


@dataclass(frozen=True)
class ConfigReference:
    """A number that is looked up in the config when the graph is checked; only JSON graphs hold these."""

    name: str


Argument = Reference | ConfigReference | int | float | None
"""What a call may hold; None is an optional weight that was left out."""

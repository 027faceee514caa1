"""What an operator that fusion makes is made of: it says so in its own file, and graph/fuse.py looks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ftllm_nb.ops.base import Kind, Operator, Parameter


@dataclass(frozen=True)
class Group:
    """Any number of nodes of one operator. They become one where every parameter that is not `many` in the fused
    operator has the same value for all of them, and their matrices have the same formats."""

    operator: type[Operator]


@dataclass(frozen=True)
class Chain:
    """Any number of nodes of one operator, of which each changes in place what the one before has made of it.

    They become one where nothing else reads what is between them. Of their numbers, those that the fused operator has
    as lists are gathered, the others must be equal.
    """

    operator: type[Operator]


@dataclass(frozen=True)
class Part:
    """One operator of a pattern.

    Its values and numbers have the names of its parameters, but where `reads`, `writes` and `numbers` say another
    name. The same name in two parts is the same value, or an equal number. A value that is changed in place has
    another name when it is written, so `writes` must give one.
    """

    operator: type[Operator]
    reads: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = {*self.reads, *self.writes, *self.numbers}
        unknown = given - {parameter.name for parameter in self.operator.parameters}
        unnamed = {
            parameter.name for parameter in self.operator.parameters if parameter.kind is Kind.INPLACE
        } - set(self.writes)
        if unknown or unnamed:
            raise TypeError(
                f"a part of a pattern, {self.operator.name}, renames {', '.join(sorted(unknown)) or 'nothing unknown'} "
                f"and writes without a name {', '.join(sorted(unnamed)) or 'nothing'}"
            )

    def read(self) -> Iterator[tuple[str, str]]:
        """Each parameter that is read, and the value's name."""
        return self._named(self.reads, [each for each in self.operator.parameters if each.is_read])

    def written(self) -> Iterator[tuple[str, str]]:
        """Each parameter that is written, and the new value's name."""
        return self._named(self.writes, [each for each in self.operator.parameters if each.is_written])

    def constants(self) -> Iterator[tuple[str, str]]:
        """Each number's parameter, and its name."""
        return self._named(self.numbers, [each for each in self.operator.parameters if each.is_number])

    @staticmethod
    def _named(names: Mapping[str, str], parameters: list[Parameter]) -> Iterator[tuple[str, str]]:
        return ((parameter.name, names.get(parameter.name, parameter.name)) for parameter in parameters)


@dataclass(frozen=True)
class Pattern:
    """Operators that become one: the fused operator reads the values and numbers of its parameters' names.

    It stands `at` the place of this part, the last one if none is said. `writes`: the names of the values that it
    changes in place, as a part has them. All other values that the parts write are gone, so a pattern is found only
    where nothing else reads them, where every value is still read before it is changed in place, and where the fused
    operator's shape rule, if it has one, gives the types that are there.
    """

    parts: tuple[Part, ...]
    at: int = -1
    writes: Mapping[str, str] = field(default_factory=dict)

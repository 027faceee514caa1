"""One recorded call of an operator: its arguments by name, and where the user wrote it."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftllm_nb.errors import FtllmError, GraphError
from ftllm_nb.graph.references import Argument, ConfigReference, DataReference, Reference, WeightReference
from ftllm_nb.graph.users_operator import reason_of
from ftllm_nb.ops.base import Kind, Operator, Parameter

_DATA_KINDS = (Kind.INPUT, Kind.INPLACE, Kind.OUTPUT, Kind.CACHE, Kind.STATE)
_WEIGHT_KINDS = (Kind.WEIGHT, Kind.OPTIONAL_WEIGHT)
_LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127


@dataclass(frozen=True)
class Call:
    """`operator` applied to `arguments`, one for each parameter. Equality ignores where it was written.

    `caller`: which line of build() called the function that holds the line, in words; "" where build() holds it.
    """

    operator: type[Operator]
    arguments: dict[str, Argument]
    index: int
    file: str | None = field(default=None, compare=False)
    line: int | None = field(default=None, compare=False)
    caller: str = field(default="", compare=False)

    @property
    def where(self) -> str:
        """The user's file and line, as far as they are known."""
        return f"{self.file}:{self.line}" if self.line is not None else self.file or "the graph"

    @property
    def is_users_own(self) -> bool:
        """Whether the operator is one of a user's file, and none of this package's."""
        return not self.operator.__module__.startswith("ftllm_nb.")

    def error(self, message: str) -> GraphError:
        """An error that names the operator, its index in the graph (from 0) and the user's line."""
        about = f"operator {self.index}" + (f", {self.caller}" if self.caller else "")
        return graph_error(f"{self.operator.name} ({about}) {message}", self.file, self.line)

    def failure(
        self, method: str, error: Exception, function: Callable[..., Any] | None = None
    ) -> GraphError | None:
        """The sentence for what a method of a user's own operator raised; None for errors and operators of ours.
        `function`: where the method is no attribute of the operator."""
        if isinstance(error, FtllmError) or not self.is_users_own:
            return None
        reason = reason_of(
            error, method, function or getattr(self.operator, method, None), self.file, self._taken_by(method)
        )
        return self.error(f"cannot be computed: {reason.rstrip('.')}.")

    def _taken_by(self, method: str) -> str:
        """What a method of the operator is called with: `step, input, weight`."""
        names = [
            parameter.name
            for parameter in self.operator.parameters
            if parameter.is_read and not (method == "state" and parameter.kind is Kind.STATE)
        ]
        return ", ".join(["step", *names] if method == "reference" else names)


def graph_error(message: str, file: str | None, line: int | None) -> GraphError:
    """A `GraphError` that begins with the file even where no line is known."""
    prefix = f"{file}: " if file is not None and line is None else ""
    return GraphError(prefix + message, file, line)


def bind(
    operator: type[Operator],
    positional: tuple[object, ...],
    by_name: Mapping[str, object],
    index: int,
    file: str | None,
    line: int | None,
    caller: str = "",
) -> Call:
    """A call from arguments as a user wrote them; raises `GraphError` for wrong counts, names and types."""
    call = Call(operator, {}, index, file, line, caller)
    parameters = operator.parameters
    names = [parameter.name for parameter in parameters]
    signature = f"{operator.name}({', '.join(names)})"
    if len(positional) > len(parameters):
        raise call.error(f"takes {len(parameters)} arguments, but {len(positional)} were given: {signature}.")
    given: dict[str, object] = dict(zip(names, positional, strict=False))
    for name, argument in by_name.items():
        if name not in names:
            raise call.error(f'has no parameter "{name}": {signature}.')
        if name in given:
            raise call.error(f'got "{name}" twice, by position and by name: {signature}.')
        given[name] = argument
    for parameter in parameters:
        if parameter.name in given:
            call.arguments[parameter.name] = _convert(call, parameter, given[parameter.name])
        elif parameter.has_default:
            call.arguments[parameter.name] = parameter.default
        else:
            raise call.error(f'lacks its argument "{parameter.name}": {signature}.')
    return call


def _convert(call: Call, parameter: Parameter, argument: object) -> Argument:
    """The argument in the form in which it is recorded."""
    kind, name = parameter.kind, parameter.name
    if parameter.is_number:
        return _convert_number(call, parameter, argument)
    if argument is None and (kind is Kind.OPTIONAL_WEIGHT or parameter.may_be_none):
        return None
    if kind in _DATA_KINDS and not isinstance(argument, DataReference):
        raise call.error(
            f'takes {_article(kind)} for "{name}", but got {_describe(argument)}{_hint(argument, "data")}.'
        )
    if kind is Kind.WEIGHTS:
        return _convert_weights(call, parameter, argument)
    if kind in _WEIGHT_KINDS and not isinstance(argument, WeightReference):
        raise call.error(
            f'takes a weight for "{name}", but got {_describe(argument)}{_hint(argument, "weight")}.'
        )
    if not isinstance(argument, Reference):
        raise call.error(
            f'takes data or a weight for "{name}", but got {_describe(argument)}{_hint(argument, "data")}.'
        )
    if argument.name == "":
        which = "data" if isinstance(argument, DataReference) else "weight"
        raise call.error(f'got {which} without a name for "{name}": write {which}["…"].')
    return argument


def _convert_weights(call: Call, parameter: Parameter, argument: object) -> tuple[WeightReference, ...]:
    given = argument if isinstance(argument, (list, tuple)) else [argument]
    found: list[WeightReference] = []
    for each in given:
        if not isinstance(each, WeightReference) or not each.name:
            raise call.error(
                f'takes a {parameter.kind.value} for "{parameter.name}", but got {_describe(each)}'
                f"{_hint(each, 'weight')}."
            )
        found.append(each)
    if not given:
        raise call.error(f'takes a {parameter.kind.value} for "{parameter.name}", but the list is empty.')
    return tuple(found)


def _convert_number(call: Call, parameter: Parameter, argument: object) -> Argument:
    if parameter.kind is Kind.INTS:
        return _convert_list(call, parameter, argument)
    return argument if isinstance(argument, ConfigReference) else _number(call, parameter, argument)


def _convert_list(call: Call, parameter: Parameter, argument: object) -> tuple[int, ...]:
    if not isinstance(argument, (list, tuple)):
        raise call.error(f'takes a {parameter.kind.value} for "{parameter.name}", but got {_describe(argument)}.')
    return tuple(int(_number(call, parameter, each)) for each in argument)


def _number(call: Call, parameter: Parameter, argument: object) -> int | float:
    kind = Kind.INT.value if parameter.kind is Kind.INTS else parameter.kind.value
    if isinstance(argument, bool) or not isinstance(argument, numbers.Real):
        raise call.error(f'takes a {kind} for "{parameter.name}", but got {_describe(argument)}.')
    if not is_float32(argument):
        raise call.error(f'takes a finite float32 for "{parameter.name}", but got {argument!r}.')
    number = float(argument)
    if parameter.kind is Kind.FLOAT:
        return number
    # `hidden_size / num_heads` is a float in Python; it means a whole number wherever it is one.
    if not number.is_integer():
        raise call.error(f'takes a {kind} for "{parameter.name}", but got {number}.')
    return int(argument) if isinstance(argument, numbers.Integral) else int(number)


def is_float32(number: Any) -> bool:
    """Whether a number is finite as a float32, which is what kernels compute with."""
    return bool(abs(number) <= _LARGEST_FLOAT32)


def _article(kind: Kind) -> str:
    return f"a {kind.value}" if kind in (Kind.CACHE, Kind.STATE) else kind.value


def _describe(argument: object) -> str:
    if isinstance(argument, DataReference):
        return f'data "{argument.name}"'
    if isinstance(argument, WeightReference):
        return f'weight "{argument.text}"'
    if isinstance(argument, str):
        return f'the string "{argument}"'
    if argument is None:
        return "None"
    return f"{argument!r} ({type(argument).__name__})"


def _hint(argument: object, table: str) -> str:
    return f': write {table}["{argument}"]' if isinstance(argument, str) else ""

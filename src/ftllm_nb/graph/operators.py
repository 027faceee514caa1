"""The methods of `ComputeGraph`: one for each file in ops/. Their signatures are in operators.pyi."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

import ftllm_nb.ops
from ftllm_nb.errors import OPERATORS_PAGE, OWN_OPERATORS, GraphError
from ftllm_nb.graph.call import Call, bind
from ftllm_nb.graph.nearest import did_you_mean, did_you_mean_operator, nearest_names
from ftllm_nb.graph.source import caller_location, caller_of_function
from ftllm_nb.ops.base import Operator

_MOST_OPERATORS = 200_000
"""Far above any model; a loop over a damaged config ends here and not when memory does."""
GIVEN = ("weight", "data", "config", "tokenizer_config", "generation_config")
"""What a build() finds on `self` besides operators."""


@functools.cache
def all_operators() -> dict[str, type[Operator]]:
    """Every operator by name, those that only fusion makes included; a file of ops/ defines at most one."""
    found: dict[str, type[Operator]] = {}
    for module_info in sorted(pkgutil.iter_modules(ftllm_nb.ops.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{ftllm_nb.ops.__name__}.{module_info.name}")
        own = [
            member
            for member in vars(module).values()
            if inspect.isclass(member)
            and issubclass(member, Operator)
            and (hasattr(member, "reference") or member.fuses)  # what has neither is a base of several
            and member.__module__ == module.__name__
        ]
        if len(own) > 1:
            raise TypeError(f"{module.__name__} defines {len(own)} operators; a file of ops/ defines one")
        for operator in own:
            if operator.name in found:
                raise TypeError(f"two files of ops/ define the operator {operator.name}")
            found[operator.name] = operator
    return found


def public_operators() -> dict[str, type[Operator]]:
    """The operators that a build() may call, by name."""
    return {name: operator for name, operator in all_operators().items() if operator.public}


class UnknownOperatorError(GraphError, AttributeError):
    """`self.X(…)` where there is no operator X; an AttributeError too, so that hasattr() works."""


class Operators:
    """Records what is called on it; `ComputeGraph` derives from this."""

    calls: list[Call]

    def __getattr__(self, name: str) -> Any:
        known = [known for known in dir(type(self)) if known[:1].isupper()]
        if not name[:1].isupper():
            if name.startswith("_") or not nearest_names(name, known := [*known, *GIVEN]):
                raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
            raise UnknownOperatorError(f'there is no self.{name}{did_you_mean(name, known)}', *caller_location())
        here = getattr(sys.modules.get(type(self).__module__), name, None)
        if inspect.isclass(here) and issubclass(here, Operator):
            remedy = f": name it in the class, operators = ({name},)."
        else:
            where = f"All that there are stand in {OPERATORS_PAGE}; how to write one, in {OWN_OPERATORS}."
            remedy = f"{did_you_mean_operator(name, known)} {where}"
        caller = caller_of_function()
        begin = f"{caller}: " if caller else ""
        raise UnknownOperatorError(f'{begin}there is no operator "{name}"{remedy}', *caller_location())


def recording_method(operator: type[Operator]) -> Callable[..., None]:
    """The method that records a call of `operator`."""

    def method(self: Operators, *arguments: object, **by_name: object) -> None:
        if len(self.calls) == _MOST_OPERATORS:
            raise GraphError(f"build() calls more than {_MOST_OPERATORS} operators.", *caller_location())
        self.calls.append(bind(operator, arguments, by_name, len(self.calls), *caller_location(), caller_of_function()))

    method.__name__ = operator.name
    method.__qualname__ = f"ComputeGraph.{operator.name}"
    method.__doc__ = operator.__doc__
    method.__signature__ = signature(operator)  # type: ignore[attr-defined]  # inspect.signature reads it
    return method


def signature(operator: type[Operator]) -> inspect.Signature:
    """The method's signature, for help() and for the stub."""
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for parameter in operator.parameters:
        default = parameter.default if parameter.has_default else inspect.Parameter.empty
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(parameter.name, kind, default=default))
    return inspect.Signature(parameters, return_annotation=None)


for _operator in public_operators().values():
    setattr(Operators, _operator.name, recording_method(_operator))

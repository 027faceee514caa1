"""`@per_row`: an operator's kernel as a function of one token's features, in Numba's part of NumPy."""

from __future__ import annotations

import dis
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.types import Symbol
from ftllm_nb.ops.base import Kind
from ftllm_nb.ops.lowering import Lowering

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import Kernel
    from ftllm_nb.kernels.per_row import Argument


class PerRow:
    """Decorator in the class of an operator: its kernel calls the function for each token.

    The function takes parameters of the operator, by their names: data as a float32 array of the token's features (its
    shape without the first two axes), a weight as a whole, float32, or None, `inputIds` and `positionIds` as the
    token's number, constants as numbers. It writes the arrays of what the operator writes.
    """

    def __init__(self, function: Any) -> None:
        self.function: Callable[..., Any] = getattr(function, "__func__", function)
        self._kernels: dict[tuple[Argument, ...], Kernel] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        if "lower" not in vars(owner):
            owner.lower = self.lower  # type: ignore[attr-defined]  # an operator

    def __call__(self, *arguments: Any, **by_name: Any) -> Any:
        """The function itself."""
        return self.function(*arguments, **by_name)

    def lower(self, node: Any, lowering: Lowering) -> None:
        """One row; see `Operator.lower`."""
        from ftllm_nb.kernels.per_row import RowArray, RowId, RowNumber, per_row_kernel
        from ftllm_nb.kernels.step import STEP_POSITIONS, STEP_TOKEN_IDS

        ids = {"inputIds": STEP_TOKEN_IDS, "positionIds": STEP_POSITIONS}
        operator, names = node.operator, tuple(inspect.signature(self.function).parameters)
        known = {parameter.name: parameter for parameter in operator.parameters}
        for name in names:
            if name not in known or known[name].kind is Kind.CACHE:
                raise self._error(f'takes "{name}", which is no parameter of {operator.name} that has a row')
        for name in operator.written():
            if name not in names:
                raise self._error(f'takes no "{name}", which {operator.name} writes')
            if not _uses(self.function, name):
                raise self._error(f'writes nothing into "{name}": fill the array, as with {name}[:] = …')
        given: list[Argument] = []
        fields: list[int | float] = []
        counts = {lowering.count(tensor) for tensor in node.outputs.values()}
        for name in names:
            tensor = node.outputs.get(name) or node.inputs.get(name)
            if known[name].is_number:
                is_float = known[name].kind is Kind.FLOAT
                given.append(RowNumber(is_float))
                number = node.attributes[name]
                fields.append(float(number) if is_float else int(number))
            elif tensor is None:
                given.append(None)
            elif tensor.kind == "weight":
                shape = tuple(tensor.type.size(axis) for axis in range(tensor.type.rank))
                given.append(RowArray(shape))
                fields += [lowering.vector([tensor], [math.prod(shape)]), 0]
            elif tensor.kind == "input" and tensor.name in ids:
                given.append(RowId())
                fields.append(ids[tensor.name])
            elif tensor.kind == "data" and tensor.type.rank > 2 and isinstance(tensor.type.shape[1], Symbol):
                place = lowering.place(tensor)
                counts.add(lowering.count(tensor))
                given.append(RowArray(tuple(tensor.type.size(axis) for axis in range(2, tensor.type.rank))))
                fields += [place.address, place.stride]
            else:
                raise self._error(f'takes "{name}", data "{tensor.name}" {tensor.type}, which has no row for a token')
        if len(counts) != 1:
            raise self._error(f"takes tensors of all tokens and of those whose logits are wanted; {operator.name} "
                              "may have one or the other")  # fmt: skip
        kernel = self._kernels.get(tuple(given))
        if kernel is None:
            kernel = self._kernels[tuple(given)] = per_row_kernel(self.function, tuple(given))
        failed = lowering.failure_word(lambda token: self._failure(node, tuple(given), token))
        lowering.add(kernel, counts.pop(), failed, *fields)

    def _failure(self, node: Any, given: tuple[Argument, ...], token: int) -> Exception:
        """What the function raised: found out by calling it in Python on ones of the same shapes."""
        from ftllm_nb.kernels.per_row import RowArray, RowNumber

        arguments = [
            np.ones(each.shape, np.float32) if isinstance(each, RowArray)
            else None if each is None
            else np.float32(1) if isinstance(each, RowNumber) and each.is_float else 1
            for each in given
        ]  # fmt: skip
        sentence: Exception | None = None
        try:
            self.function(*arguments)
        except Exception as error:
            sentence = node.call.failure(self.function.__name__, error, self.function)
        return sentence or self._error(f"raised an exception for token {token - 1} of the step")

    def _error(self, problem: str) -> GraphError:
        code = self.function.__code__
        return GraphError(f"{self.function.__name__}() {problem}.", code.co_filename, code.co_firstlineno)


def _uses(function: Callable[..., Any], name: str) -> bool:
    """Whether a function does more with a parameter than to give its name to something else."""
    for instruction in dis.get_instructions(function):
        loads = instruction.opname.startswith("LOAD_") or "_LOAD_" in instruction.opname  # from 3.13 on two in one
        if loads and name in (instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)):
            return True
    return False


per_row = PerRow

"""Running an operator of a user's own: what it does wrong is a sentence at the user's line."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType, format_shape
from ftllm_nb.ops.base import Array, Kind, Operator, SequenceCache, StepContext


class GuardedCache:
    """A sequence's cache as an operator of a user's file gets it: it takes one row for each of the sequence's tokens,
    once, and gives rows that cannot be written.

    `name`: the parameter; `holds`: the one whose rows it stores, None where the call gives none; `shape`: of a row.
    """

    def __init__(
        self, cache: SequenceCache, name: str, holds: str | None, tokens: int, shape: tuple[int, ...]
    ) -> None:
        self._cache = cache
        self._name = name
        self._holds = holds
        self._shape = (tokens, *shape)
        self.is_stored = False

    def append(self, rows: Array) -> Array:
        """See `SequenceCache`."""
        if self._holds is None:
            raise ShapeError(
                f'it may not append to the cache {self._name}: its Parameter says no holds="NAME", or the call gives '
                "None for that"
            )
        if self.is_stored:
            raise ShapeError(f"it appends to the cache {self._name} twice in a step; take all rows at once")
        rows = np.asarray(rows, np.float32)
        if rows.shape != self._shape:
            raise ShapeError(
                f"it appends {list(rows.shape)} to the cache {self._name}, which takes {list(self._shape)} here, the "
                f"sequence's rows of {self._holds}: {self._holds}[0, step.rows[i]] are those of sequence i"
            )
        self.is_stored = True
        return _read_only(self._cache.append(rows))

    def read(self) -> Array:
        """See `SequenceCache`."""
        return _read_only(self._cache.read())


def compute_guarded(
    operator: type[Operator], step: StepContext, arguments: dict[str, Any], types: Mapping[str, TensorType]
) -> dict[str, Array]:
    """What `operator.compute` computes; `types`: of what it reads and writes. Inputs cannot be written, numbers that
    are none raise FloatingPointError unless its code says np.errstate, and `ShapeError` says what else is wrong."""
    guarded: list[tuple[str, GuardedCache]] = []
    given: dict[str, Any] = {}
    for name, argument in arguments.items():
        if isinstance(argument, list) and operator.parameter(name).kind is Kind.CACHE:
            holds, shape = operator.parameter(name).holds, types[name].shape[1:]
            stored = holds if holds in types else None
            sizes = tuple(size for size in shape if isinstance(size, int))
            caches = [
                GuardedCache(cache, name, stored, rows.stop - rows.start, sizes)
                for cache, rows in zip(argument, step.rows, strict=True)
            ]
            guarded += [(name, cache) for cache in caches if stored is not None]
            given[name] = caches
        else:
            given[name] = _read_only(argument) if isinstance(argument, np.ndarray) else argument
    with np.errstate(divide="raise", invalid="raise", over="ignore", under="ignore"):
        results = operator.compute(step, given)
    for name, array in results.items():
        expected = types[name].shape
        fits = len(array.shape) == len(expected) and all(
            not isinstance(want, int) or size == want for size, want in zip(array.shape, expected, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"it returned {list(array.shape)} for {name}, where its infer() says {format_shape(expected)}"
            )
    for name, argument in given.items():
        if operator.parameter(name).kind is Kind.STATE:
            _require_states(name, argument, types[name])
    for name, cache in guarded:
        if not cache.is_stored:
            raise ShapeError(f"it appended nothing to the cache {name} of one sequence; each needs its rows")
    return results


def _require_states(name: str, states: list[Any], type: TensorType) -> None:
    for state in states:
        is_array = isinstance(state, np.ndarray)
        if not is_array or state.shape != type.shape[1:] or state.dtype != np.float32:
            left = f"{state.dtype} {list(state.shape)}" if is_array else f"a value of type {state.__class__.__name__}"
            raise ShapeError(
                f"it left {left} as {name} of a sequence, where its state() says float32 {format_shape(type.shape[1:])}"
            )


def _read_only(array: Array) -> Array:
    """A view that cannot be written."""
    view = array.view()
    view.flags.writeable = False
    return view


def reason_of(
    error: Exception, method: str, function: Callable[..., Any] | None, file: str | None, taken: str = ""
) -> str:
    """What went wrong in a user's method, and where: `raised ValueError in line 12 (x / 0): …`. `file`: the one that
    the sentence begins with; `taken`: the parameters that the method must have."""
    place = _place(error.__traceback__, function, file)
    if isinstance(error, ShapeError):
        return f"its {method}() is wrong{place}: {error}"
    said = str(error)
    if isinstance(error, TypeError) and taken and not place:  # it was not entered
        said += f"; write def {method}({taken})"
    if isinstance(error, ValueError) and "read-only" in said:
        said = "what it is given is read-only; change a copy of it, x = x.copy()"
    if isinstance(error, FloatingPointError):
        said += '; where that is meant, compute it under with np.errstate(all="ignore")'
    return f"its {method}() raised {type(error).__name__}{place}{f': {said}' if said else ''}"


def _place(trace: TracebackType | None, function: Callable[..., Any] | None, file: str | None) -> str:
    """` in line 12 of operators.py (x / 0)`: the innermost line of the file that `function` is from."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    frames = [frame for frame in traceback.extract_tb(trace) if code and frame.filename == code.co_filename]
    if not frames:
        return ""
    frame = frames[-1]
    of_file = "" if frame.filename == file else f" of {frame.filename}"
    text = f" ({frame.line})" if frame.line else ""
    return f" in line {frame.lineno}{of_file}{text}"

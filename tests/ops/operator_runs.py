"""Operators' NumPy references, run on values of random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.graph.operators import public_operators
from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import StepContext

OPERATORS = public_operators()
STEP = StepContext()
sizes = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def compute(name: str, step: StepContext = STEP, **arguments: Any) -> NDArray[np.float32]:
    """The one output of an operator; its inferred type must be what it computes, its inputs unchanged."""
    operator = OPERATORS[name]
    before = {key: value.copy() for key, value in arguments.items() if isinstance(value, np.ndarray)}
    (output,) = operator.compute(step, arguments).values()
    for key, value in before.items():
        np.testing.assert_array_equal(arguments[key], value)
    assert output.dtype == np.float32
    types = {key: type_of(value) for key, value in arguments.items()}
    if not any(isinstance(value, list) for value in arguments.values()):
        (inferred,) = operator.infer_outputs(types).values()
        assert inferred == TensorType(output.shape, "float32")
    return output


def type_of(value: Any) -> Any:
    return TensorType(value.shape, str(value.dtype)) if isinstance(value, np.ndarray) else value

"""What a file with operators of its own needs: `from ftllm_nb.extend import Operator, Parameter, Kind, …`.

docs/extending.md tells how, from an operator in NumPy alone to a kernel.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.types import ShapeError, Symbol, TensorType
from ftllm_nb.ops.base import (
    Kind,
    Operator,
    Parameter,
    SequenceCache,
    StepContext,
    Work,
    require_activation,
    require_axis,
    require_same_shape,
    require_vector,
)
from ftllm_nb.ops.lowering import Lowering, features
from ftllm_nb.ops.per_row import per_row
from ftllm_nb.ops.reach import Reach

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import kernel
    from ftllm_nb.kernels.row_fields import row_fields
    from ftllm_nb.kernels.step import argument, field, scalar, take_chunk
else:
    _OF_KERNELS = {"kernel": "compile", "row_fields": "row_fields"} | dict.fromkeys(
        ("argument", "field", "scalar", "take_chunk"), "step"
    )

    def __getattr__(name: str) -> Any:
        """What kernels are written with imports Numba, which a file that describes a model alone need not wait for."""
        if name not in _OF_KERNELS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"ftllm_nb.kernels.{_OF_KERNELS[name]}"), name)


__all__ = [
    "ComputeGraph",
    "Kind",
    "Lowering",
    "Operator",
    "Parameter",
    "Reach",
    "SequenceCache",
    "ShapeError",
    "StepContext",
    "Symbol",
    "TensorType",
    "Work",
    "argument",
    "features",
    "field",
    "kernel",
    "per_row",
    "require_activation",
    "require_axis",
    "require_same_shape",
    "require_vector",
    "row_fields",
    "scalar",
    "take_chunk",
]

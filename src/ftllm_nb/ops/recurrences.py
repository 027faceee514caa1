"""What linear recurrences have in common: heads, the rows of their kernels, and the state in a reference's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import require_activation
from ftllm_nb.ops.lowering import Lowering, Tensor

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import Kernel

CHUNK_COLUMNS = 32
"""Columns of a head's matrix that a worker takes at once, `COLUMNS` of kernels/recurrence.py."""
LARGE_STATE = 512 << 10
"""Bytes of a layer's state from which on those of all layers do not stay in caches from a step to the next."""


def require_recurrent_heads(types: Mapping[str, TensorType]) -> tuple[int, int, int, int]:
    """(key heads, key dim, heads, value dim) of a query, a key and a value, by their parameters' names in this order,
    [1, tokens, heads, dim]; raises `ShapeError`."""
    (query, query_type), (key, key_type), (value, value_type) = types.items()
    for name, type in types.items():
        require_activation(type, name, 4)
    if query_type.shape != key_type.shape:
        raise ShapeError(f"{query} and {key} must have the same shape", *query_type.shape, *key_type.shape)
    if value_type.shape[:2] != key_type.shape[:2]:
        raise ShapeError(f"{key} and {value} must have the same tokens", *key_type.shape, *value_type.shape)
    key_heads, heads = key_type.size(2), value_type.size(2)
    if heads % key_heads:
        raise ShapeError(f"{value}'s {heads} heads must be a multiple of {key}'s {key_heads}")
    return key_heads, key_type.size(3), heads, value_type.size(3)


def require_of_heads(type: TensorType, name: str, value: TensorType) -> None:
    """Raise `ShapeError` unless this has one number for each head of the value."""
    require_activation(type, name, 3)
    if type.shape != value.shape[:3]:
        raise ShapeError(f"{name} must be [1, tokens, {value.size(2)}], a number for each head", *type.shape)


def state_shape(heads: int, key_dim: int, value_dim: int) -> tuple[int, int, int]:
    """A reference's state is [heads, key dim, value dim], and zeros up to whole chunks; kernels lay it out in blocks of
    columns."""
    return heads, key_dim, -(-value_dim // CHUNK_COLUMNS) * CHUNK_COLUMNS


def lower_recurrence(
    lowering: Lowering,
    kernel: Kernel,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    decay: tuple[int, int],
    rate: tuple[int, int],
    output: Tensor,
    state: Tensor,
    scale: float = 1.0,
    skip: int = 0,
) -> None:
    """A row of one of the kernels in kernels/recurrence.py, or of its twin for halves where the state is of those.
    `decay`, `rate`: address, and bytes from token to token."""
    from ftllm_nb.kernels.recurrence import OF_HALVES, RECURRENCE

    kept = lowering.state(state)
    state_bytes = 4 * value.type.size(2) * key.type.size(3) * value.type.size(3)
    places = [lowering.place(tensor) for tensor in (query, key, value, output)]
    read, known, given, written = places
    fields = RECURRENCE.values(
        query=read.address, query_stride=read.stride, key=known.address, key_stride=known.stride,
        value=given.address, value_stride=given.stride, decay=decay[0], decay_stride=decay[1],
        rate=rate[0], rate_stride=rate[1], output=written.address, output_stride=written.stride,
        state=kept.offset, heads=value.type.size(2), key_heads=key.type.size(2),
        key_dim=key.type.size(3), value_dim=value.type.size(3), scale=float(scale), skip=skip,
        leaves=int(state_bytes >= LARGE_STATE),
    )  # fmt: skip
    lowering.add(OF_HALVES[kernel] if kept.is_half else kernel, *fields)

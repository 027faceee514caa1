"""The products of attention, scores and sums of values, by the cache's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftllm_nb.kernels.cache_layout import INT4, key_kind, value_kind
from ftllm_nb.kernels.int4_products import int4_group_scores, int4_group_values, int4_scores, int4_values
from ftllm_nb.kernels.matmul import float_matmul, group_matmul
from ftllm_nb.kernels.matmul_tile import INT8
from ftllm_nb.kernels.wide_tile import wide_group_matmul, wide_matmul


def products(kind: int) -> tuple[Any, Any]:
    """Functions like those that `tiled` makes: queries times keys, and weights times values."""
    scores: dict[int, Callable[[], Any]] = {INT4: int4_scores, INT8: lambda: wide_matmul(1)}
    values: dict[int, Callable[[], Any]] = {INT4: int4_values, INT8: lambda: wide_matmul(0)}
    by_keys = scores.get(key_kind(kind), lambda: float_matmul(kind))
    by_values = values.get(value_kind(kind), lambda: float_matmul(kind))
    return by_keys(), by_values()


def group_products(kind: int, rows: int) -> tuple[Any, Any]:
    """The same of `rows` rows, like those that `grouped` makes."""
    scores = {INT4: lambda: int4_group_scores(rows), INT8: lambda: wide_group_matmul(1, rows)}
    values = {INT4: lambda: int4_group_values(rows), INT8: lambda: wide_group_matmul(0, rows)}
    by_keys = scores.get(key_kind(kind), lambda: group_matmul(kind, rows))
    by_values = values.get(value_kind(kind), lambda: group_matmul(kind, rows))
    return by_keys(), by_values()

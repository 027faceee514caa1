"""What a model makes the machine do, counted from its graph: bytes of weights to read, operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftllm_nb.benchmark.speed_test import SpeedTest
from ftllm_nb.engine.weight_types import WeightTypes, embedding_weights, main_format
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.types import Symbol
from ftllm_nb.ops.reach import Reach
from ftllm_nb.quant.blocks import BlockFormat
from ftllm_nb.quantized_type import QuantizedType

if TYPE_CHECKING:
    from ftllm_nb.benchmark.limits import MachineLimits


@dataclass(frozen=True)
class LinearWeight:
    """A matrix of [out_features, in_features] that every token, or every row of logits, is multiplied by.

    `share`: of its numbers, those by which a token is multiplied: less than 1 for a stack of experts, whose rows are
    counted together.
    """

    out_features: int
    in_features: int
    packed_bytes: int
    for_logits: bool
    """Whether only rows whose logits are wanted see it."""
    share: float = 1.0

    @property
    def operations(self) -> int:
        """Of one row: a multiplication and an addition for each weight."""
        return round(2 * self.out_features * self.in_features * self.share)

    def bytes_read(self, rows: float) -> int:
        """At most, in a step of that many rows: other rows may choose other experts."""
        return round(self.packed_bytes * min(1.0, self.share * rows))


@dataclass(frozen=True)
class AttentionWork:
    """An attention: `features` of all heads, keys' and values', for each position that a token sees within `reach`."""

    features: int
    reach: Reach

    def operations(self, first: int, tokens: int) -> int:
        """Of tokens at positions from `first` on: a multiplication and an addition for each feature seen."""
        seen = sum(position + 1 - self.reach.first_seen(position) for position in range(first, first + tokens))
        return 2 * self.features * seen


@dataclass(frozen=True)
class ModelSize:
    """Parameters and bytes of all weights (tied ones once), and the matrices that products are made with.

    `embedding_parameters`, `embedding_bytes`: of those, the tables that tokens are looked up in and the matrix that
    makes logits. `recurrent`: operations of all recurrences for a token.
    """

    parameters: int
    weight_bytes: int
    dtype: str
    linear_weights: tuple[LinearWeight, ...]
    embedding_parameters: int = 0
    embedding_bytes: int = 0
    attentions: tuple[AttentionWork, ...] = ()
    recurrent: int = 0

    @property
    def bits_a_weight(self) -> float:
        """Bits of memory for each number, of all weights."""
        return 8 * self.weight_bytes / self.parameters

    @property
    def layer_bits_a_weight(self) -> float:
        """The same without tables and the matrix that makes logits; of a model of nothing else, 0."""
        numbers = self.parameters - self.embedding_parameters
        return 8 * (self.weight_bytes - self.embedding_bytes) / numbers if numbers else 0.0

    @property
    def active_parameters(self) -> int:
        """Those that a token is multiplied by or looked up in: of a mixture only the experts that it goes to."""
        idle = sum((1 - each.share) * each.out_features * each.in_features for each in self.linear_weights)
        return self.parameters - round(idle)

    @property
    def active_bytes(self) -> int:
        """The bytes of these."""
        return self.weight_bytes - round(sum((1 - each.share) * each.packed_bytes for each in self.linear_weights))

    @property
    def multiplies_integers(self) -> bool:
        """Whether the products are dot products of integers: in the formats int8, int4, … and in ggml's blocks."""
        return QuantizedType.named(self.dtype) is not None or BlockFormat.has(self.dtype)


def size_of(graph: CheckedGraph, weight_types: WeightTypes) -> ModelSize:
    """The size in memory of a model whose matrices are packed in these formats."""
    format_of, packed = weight_types.formats(graph), set(graph.packed)

    def weight_bytes(weight: Value) -> int:
        if weight not in packed:
            return 4 * _numbers(weight)
        count, rows, columns = weight.type.matrices
        return count * format_of(weight).packed_bytes(rows, columns)

    def linear_weight(node: Node, weight: Value) -> LinearWeight:
        count, rows, columns = weight.type.matrices
        for_logits = any(Symbol.ROWS in value.type.shape for value in node.outputs.values())
        return LinearWeight(count * rows, columns, weight_bytes(weight), for_logits, node.work.share)

    weights = set(graph.weights.values())  # tied embeddings are one value under two names
    embeddings = embedding_weights(graph)
    return ModelSize(
        parameters=sum(map(_numbers, weights)),
        weight_bytes=sum(map(weight_bytes, weights)),
        dtype=main_format(packed, format_of),
        linear_weights=tuple(linear_weight(node, node.inputs[name]) for node in graph.nodes for name in node.products),
        embedding_parameters=sum(map(_numbers, embeddings)),
        embedding_bytes=sum(map(weight_bytes, embeddings)),
        attentions=tuple(
            AttentionWork(node.work.attended, node.operator.reach(node.attributes))
            for node in graph.nodes
            if node.work.attended
        ),
        recurrent=sum(node.work.recurrent for node in graph.nodes),
    )


def _numbers(weight: Value) -> int:
    return math.prod(weight.type.size(axis) for axis in range(weight.type.rank))


@dataclass(frozen=True)
class Work:
    """Bytes of packed weights read, operations of matrix products, and of attention and recurrences in float32.

    Nothing else is counted (no activations, no bytes of the KV cache), so that shares of limits are low rather than
    high. Weights count once a step, however often a kernel reads them.
    """

    weight_bytes: int
    operations: int
    float_operations: int = 0


@dataclass(frozen=True)
class Reached:
    """Rates of a test, and the share of the limit that binds it: of the two, the one that it is nearer to.

    Multiplying takes at least the products' time at their peak, and attention's and recurrences' at that of float32
    multiply-adds, one after the other; its share is that time's. `gop_per_s`: all operations.
    """

    gb_per_s: float
    gop_per_s: float
    share_of_limit: float | None
    limit: str
    """"read", "fma" or "dot"; "" where the share is None because there is no limit."""


def work_of(test: SpeedTest, size: ModelSize, max_step_tokens: int) -> Work:
    """The work of one repetition of a test."""
    steps = test.tokens if test.is_decode else -(-test.tokens // max_step_tokens)
    logit_rows = test.total_tokens if test.is_decode else 1
    logit_steps = steps if test.is_decode else 1
    weight_bytes = operations = 0
    for weight in size.linear_weights:
        rows, passes = (logit_rows, logit_steps) if weight.for_logits else (test.total_tokens, steps)
        weight_bytes += weight.bytes_read(rows / passes) * passes
        operations += weight.operations * rows
    attended = sum(each.operations(test.tokens_before, test.tokens) for each in size.attentions)
    return Work(weight_bytes, operations, attended * test.batch + size.recurrent * test.total_tokens)


def compare_with_limits(test: SpeedTest, work: Work, limits: MachineLimits, uses_dot: bool) -> Reached:
    """How near a test came to the limits; `uses_dot`: its products are int8 rather than float32."""
    tests_per_s = test.tokens_per_s / test.total_tokens
    gb_per_s = work.weight_bytes * tests_per_s / 1e9
    gop_per_s = (work.operations + work.float_operations) * tests_per_s / 1e9
    shares = {"read": gb_per_s / limits.read_gb_per_s}
    peak, name = (limits.dot_gop_per_s, "dot") if uses_dot else (limits.fma_gflop_per_s, "fma")
    if peak is not None:
        least_seconds = work.operations / peak + work.float_operations / limits.fma_gflop_per_s
        shares[name] = least_seconds * tests_per_s / 1e9
    elif not test.is_decode:
        return Reached(gb_per_s, gop_per_s, None, "")
    limit = max(shares, key=shares.__getitem__)
    return Reached(gb_per_s, gop_per_s, shares[limit], limit)

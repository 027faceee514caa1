"""OrderedMergeMOE: MergeMOE of experts whose matrices have their columns in other orders than inputs have."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, Work
from ftllm_nb.ops.lowering import LoweredNode, Lowering, PackedMatrices, Place
from ftllm_nb.ops.merge_moe import GATES, LoweredMixture, MergeMOE
from ftllm_nb.quant.activations import Int8Form

_MATRICES = ("gate", "up", "down")


def _by_itself(parameter: Parameter) -> Parameter:
    """Inputs come as floats, whatever the weights: their orders differ from expert to expert."""
    return dataclasses.replace(parameter, multiplies="") if parameter.name in _MATRICES else parameter


class OrderedMergeMOE(Operator):
    """As MergeMOE; `orders`: by matrix ("gate0", "down3"), int32 [columns]: column i of it is the inputs' order[i].
    The node keeps them alive."""

    public = False
    orders = MergeMOE
    parameters = (*map(_by_itself, MergeMOE.parameters), Parameter("orders", Kind.INTS))

    @staticmethod
    def infer(orders: Mapping[str, Array], **types: Any) -> TensorType:
        return MergeMOE.infer(**types)

    @staticmethod
    def reference(step: StepContext, orders: Mapping[str, Array], **arguments: Any) -> Array:
        for name in _MATRICES:
            arguments[name] = tuple(
                _in_input_order(each, orders.get(f"{name}{number}")) for number, each in enumerate(arguments[name])
            )
        return MergeMOE.reference(step, **arguments)

    @classmethod
    def work(cls, types: Mapping[str, Any]) -> Work:
        """As of MergeMOE."""
        return MergeMOE.work(types)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """As of MergeMOE, but that each expert's rows are ordered, and quantized, before its products."""
        _LoweredOrders(node, lowering).run()


def _in_input_order(matrix: Array, order: Array | None) -> Array:
    if order is None:
        return matrix
    found = np.empty_like(matrix)
    found[:, order] = matrix
    return found


def _is_same(one: Array | None, other: Array | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


class _LoweredOrders(LoweredMixture):
    """A node on its way to rows."""

    def run(self) -> None:
        """All rows."""
        gate = GATES[self.attributes["gateType"]]
        self.lowering.part("routing")
        self.sort()
        names = [name for name in ("gate", "up") if self.lists[name]]
        packed = [self.lowering.matrices(self.lists[name]) for name in names]
        size = 64 * packed[0].num_blocks
        product = self.rows("first", size * len(packed))
        is_shared = all(each.format == packed[0].format for each in packed) and self.are_alike(names)
        runs = [range(len(names))] if is_shared else [range(number, number + 1) for number in range(len(names))]
        for run in runs:
            begin, its_names = run.start, [names[number] for number in run]
            self.lowering.part("gather")
            gathered, direct = self.ordered(its_names[0], packed[begin], self.source, self.tokens, self.features)
            self.lowering.part("up", [weight for name in its_names for weight in self.lists[name]])
            beside = Place(product.address + begin * size, product.stride)
            biases = [self.lists[f"{name}Bias"] for name in its_names]
            self.multiply([packed[number] for number in run], gathered, biases, beside, direct)
        self.lowering.part("gate")
        down = self.lowering.matrices(self.lists["down"])
        is_ordered = any(order is not None for order in self.orders("down"))
        gated = self.rows_gated(gate, product, size, None if is_ordered else down.format.activations)
        if is_ordered:
            gated, _ = self.ordered("down", down, gated, 0, self.lists["down"][0].type.size(-1))
        self.lowering.part("down", self.lists["down"])
        result = self.rows("second", 64 * down.num_blocks)
        self.multiply([down], gated, [self.lists["downBias"]], result, None)
        self.lowering.part("sum")
        self.combine(result)

    def orders(self, name: str) -> list[Array | None]:
        """Of a list's matrices."""
        return [self.attributes["orders"].get(f"{name}{number}") for number in range(self.experts)]

    def are_alike(self, names: Sequence[str]) -> bool:
        """Whether lists' matrices have the same orders, expert by expert."""
        first, *others = (self.orders(name) for name in names)
        return all(_is_same(one, each) for other in others for one, each in zip(first, other, strict=True))

    def ordered(
        self, name: str, packed: PackedMatrices, source: Place, tokens: int, size: int
    ) -> tuple[Place, Place | None]:
        """Slots' rows as products with these matrices read them, and where a single token's is, if elsewhere.
        `tokens`: each slot's, 0 where rows are slots'."""
        from ftllm_nb.kernels.order_slots import ORDER_SLOTS, order_slots

        form = packed.format.activations
        if form is None:
            target = self.rows(f"for {name}", 4 * size)
            self.gather(target, 4 * size)
            return target, source
        assert isinstance(form, Int8Form), "for_rows"
        columns, row_bytes = form.columns(size), form.row_bytes(size)
        self.lowering.need_scratch(4 * columns)
        target = self.rows(f"for {name}", row_bytes)
        addresses = [0 if each is None else int(each.ctypes.data) for each in self.orders(name)]
        self.lowering.add(
            order_slots,
            *ORDER_SLOTS.values(
                input=source.address, input_stride=source.stride, output=target.address, output_stride=target.stride,
                orders=self.lowering.table(addresses), size=size, columns=columns,
                group=form.group_columns(size), middle=form.code, units=self.units, tokens=tokens,
            ),
        )  # fmt: skip
        return target, None

"""MergeMOE: a mixture of experts, of which each token is multiplied by those that were chosen for it alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.types import ShapeError, TensorType, format_shape
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, Work, require_activation, require_vector
from ftllm_nb.ops.gelu import exact_gelu, tanh_gelu
from ftllm_nb.ops.lowering import LoweredNode, Lowering, PackedMatrices, Place, Reads, Tensor
from ftllm_nb.ops.silu import sigmoid, silu
from ftllm_nb.quant.activations import ActivationForm, Int8Form

Gate = Callable[[Array, Array, float, float], Array]


class _Gate(NamedTuple):
    """What lies between an expert's two products. `reference`: of gate, up, alpha and limit; `kernels`: the name of
    two in kernels/expert_gates.py, to float32, and quantized; `are_pairs`: gate and up are neighbours in the first
    product; `has_up`: or there is the gate alone."""

    reference: Gate
    kernels: str
    are_pairs: bool = False
    has_up: bool = True


def _limited_silu(gate: Array, up: Array, alpha: float, limit: float) -> Array:
    return np.asarray(silu(np.minimum(gate, np.float32(limit))) * np.clip(up, -limit, limit))


def _limited_pair(gate: Array, up: Array, alpha: float, limit: float) -> Array:
    gate = np.minimum(gate, np.float32(limit))
    return np.asarray((np.clip(up, -limit, limit) + 1) * gate * sigmoid(np.float32(alpha) * gate))


GATES = (
    _Gate(lambda gate, up, alpha, limit: silu(gate) * up, "SILU"),
    _Gate(lambda gate, up, alpha, limit: exact_gelu(gate) * up, "GELU"),
    _Gate(_limited_pair, "LIMITED_PAIRS", are_pairs=True),
    _Gate(lambda gate, up, alpha, limit: tanh_gelu(gate) * up, "GELU_TANH"),
    _Gate(lambda gate, up, alpha, limit: np.square(np.maximum(gate, 0)), "RELU_2", has_up=False),
    _Gate(_limited_silu, "LIMITED_SILU"),
    _Gate(_limited_pair, "LIMITED_HALVES"),
)
"""By `gateType`."""


def gates_and_ups(gate_type: int, rows: int) -> tuple[slice, slice]:
    """Which of so many rows of a `gate` that holds both are gates, and which ups."""
    if GATES[gate_type].are_pairs:
        return slice(0, rows, 2), slice(1, rows, 2)
    return slice(0, rows // 2), slice(rows // 2, rows)


class MergeMOE(Operator):
    """output = Σ over a token's experts, by ascending number, of score · down(gated(gate(input), up(input))).

    input [1, tokens, features]; index and score [1, tokens, picks], as SelectExpert writes them, or another router: an
    index that is no expert's number means the nearest. gate and up [experts, inner features, features], or a list with
    a matrix for each expert; up None: gate's rows are those of both, gate's first. down [experts, features, inner
    features], or a list. gateBias, upBias, downBias: lists of vectors, or none. gateType: 0 Swiglu, 1 Geglu, 2
    SwigluGptOss (gate and up are neighbours in `gate`), 3 Geglu in the tanh form, 4 Relu2 without an up, 5 Swiglu with
    a gate of at most `limit` and an up between −limit and limit, 6 SwigluGptOss whose gate and up are apart. In
    fastllm, weights are one list of all, and biases are not read on the CPU.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("index", Kind.INPUT),
        Parameter("score", Kind.INPUT),
        Parameter("gate", Kind.WEIGHTS, multiplies="input", by_expert=True),
        Parameter("up", Kind.WEIGHTS, multiplies="input", by_expert=True, may_be_none=True),
        Parameter("down", Kind.WEIGHTS, multiplies="", by_expert=True),
        Parameter("output", Kind.OUTPUT),
        Parameter("gateType", Kind.INT, default=0),
        Parameter("gateBias", Kind.WEIGHTS, may_be_none=True, may_be_left_out=True, is_extra=True),
        Parameter("upBias", Kind.WEIGHTS, may_be_none=True, may_be_left_out=True, is_extra=True),
        Parameter("downBias", Kind.WEIGHTS, may_be_none=True, may_be_left_out=True, is_extra=True),
        Parameter("limit", Kind.FLOAT, default=7.0, is_extra=True),
        Parameter("alpha", Kind.FLOAT, default=1.702, is_extra=True),
    )

    @staticmethod
    def infer(
        input: TensorType, index: TensorType, score: TensorType, gate: Sequence[TensorType], up: Sequence[TensorType],
        down: Sequence[TensorType], gateType: int, gateBias: Sequence[TensorType], upBias: Sequence[TensorType],
        downBias: Sequence[TensorType], limit: float, alpha: float,
    ) -> TensorType:  # fmt: skip
        """The input's."""
        for name, each in (("input", input), ("index", index), ("score", score)):
            require_activation(each, name, 3)
        if index.shape != score.shape or index.shape[:2] != input.shape[:2]:
            raise ShapeError("index and score must be [1, tokens, picks], of the tokens of input")
        if gateType not in range(len(GATES)):
            raise ShapeError(f"gateType must be 0 to {len(GATES) - 1}, but it is {gateType}")
        if limit <= 0:
            raise ShapeError(f"limit must be above 0, but it is {limit:g}")
        (experts, rows, columns), second, last = _stack(gate, "gate"), up and _stack(up, "up"), _stack(down, "down")
        is_joined = GATES[gateType].has_up and not second
        if second and (GATES[gateType].are_pairs or not GATES[gateType].has_up):
            raise ShapeError(f"up must be None with gateType {gateType}")
        if is_joined and rows % 2:
            raise ShapeError(f"gate holds gate and up, of an even number of rows, but it has {rows}", rows)
        if second and second != (experts, rows, columns):
            shapes = f"{[experts, rows, columns]} and {[*second]}"
            raise ShapeError(f"gate and up must have one shape, but they are {shapes}")
        inner = rows // 2 if is_joined else rows
        if columns != input.size(2) or last != (experts, columns, inner):
            raise ShapeError(
                f"of {experts} experts, gate must take {input.size(2)} features and down be "
                f"[{input.size(2)}, {inner}], but they are {[rows, columns]} and {[*last[1:]]}, of {last[0]} experts",
                columns, last[1], last[2],
            )  # fmt: skip
        biases = {"gateBias": (gateBias, rows), "upBias": (upBias, rows), "downBias": (downBias, columns)}
        for name, (vectors, size) in biases.items():
            if vectors and len(vectors) != experts:
                raise ShapeError(f"{name} must have a vector for each of {experts} experts, but it has {len(vectors)}")
            for vector in vectors:
                require_vector(vector, name, size)
        if index.size(2) > experts:
            raise ShapeError(f"index names {index.size(2)} experts for a token, but there are {experts}", index.size(2))
        return input

    @staticmethod
    def reference(
        step: StepContext, input: Array, index: Array, score: Array, gate: Sequence[Array], up: Sequence[Array],
        down: Sequence[Array], gateType: int, gateBias: Sequence[Array], upBias: Sequence[Array],
        downBias: Sequence[Array], limit: float, alpha: float,
    ) -> Array:  # fmt: skip
        gates, downs, kind = _matrices(gate), _matrices(down), GATES[gateType]
        ups = _matrices(up) if up else None
        chosen = np.clip(np.nan_to_num(index[0]), 0, len(gates) - 1).astype(int)
        output = np.zeros_like(input)
        for expert in np.unique(chosen):
            tokens, picks = np.nonzero(chosen == expert)
            rows = input[0, tokens]
            first = rows @ gates[expert].T
            if gateBias:
                first = first + gateBias[expert]
            second = first
            if ups is not None:
                second = rows @ ups[expert].T
                if upBias:
                    second = second + upBias[expert]
            elif kind.are_pairs:
                first, second = first[:, ::2], first[:, 1::2]
            elif kind.has_up:
                first, second = np.split(first, 2, axis=-1)
            result = kind.reference(first, second, alpha, limit) @ downs[expert].T
            if downBias:
                result = result + downBias[expert]
            np.add.at(output[0], tokens, score[0, tokens, picks][:, None] * result)
        return output

    @classmethod
    def work(cls, types: Mapping[str, Any]) -> Work:
        """A token is multiplied by the picked experts."""
        experts, _, _ = _stack(cls.joined(types)["gate"], "gate")
        return Work(share=min(1.0, types["index"].size(2) / experts))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """Rows that sort the tokens by expert, multiply, gate, multiply, and add up."""
        LoweredMixture(node, lowering).run()


def _stack(types: Sequence[TensorType], name: str) -> tuple[int, int, int]:
    """(experts, rows, columns) of a stack of matrices, or of a list of them."""
    first = types[0]
    if len(types) == 1 and first.rank == 3:
        return first.size(0), first.size(1), first.size(2)
    if first.rank != 2:
        asked = "[experts, rows, columns], or a list of matrices"
        raise ShapeError(f"{name} must be {asked}, but it has {first.rank} axes")
    for number, each in enumerate(types):
        if each.shape != first.shape:
            raise ShapeError(
                f"{name}'s experts must have one shape, but number {number} is {format_shape(each.shape)}, and number "
                f"0 {format_shape(first.shape)}"
            )
    return len(types), first.size(0), first.size(1)


def _matrices(weights: Sequence[Array]) -> Sequence[Array]:
    return list(weights[0]) if len(weights) == 1 and weights[0].ndim == 3 else weights


class LoweredMixture:
    """A node on its way to rows."""

    def __init__(self, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.experts import UNIT_BYTES, UNITS_HEAD, most_units

        self.lowering, self.attributes = lowering, node.attributes
        self.index, self.score, self.output = node.inputs["index"], node.inputs["score"], node.outputs["output"]
        self.source = lowering.place(node.inputs["input"])
        self.lists = MergeMOE.joined(node.inputs)
        self.picks, self.features = self.index.type.size(2), self.output.type.size(2)
        self.experts = _stack([each.type for each in self.lists["gate"]], "gate")[0]
        self.slots = self.picks * lowering.most_tokens
        self.count = lowering.count(self.output)
        self.units = lowering.temporary("units", UNITS_HEAD + UNIT_BYTES * most_units(self.slots, self.experts))
        self.tokens, self.slot_of, self.weights = (
            lowering.temporary(name, 4 * self.slots) for name in ("tokens", "slots", "weights")
        )

    def run(self) -> None:
        """All rows."""
        lists, gate = self.lists, GATES[self.attributes["gateType"]]
        self.lowering.part("routing")
        self.sort()
        first, *others = [self.lowering.matrices(lists[name]) for name in ("gate", "up") if lists[name]]
        form = first.format.activations
        if any(other.format.activations != form for other in others):
            types = f"{first.format.name} and {others[0].format.name}"
            raise GraphError(f"the experts' gate and up must read one form of the input, but they are {types}.")
        row_bytes = 4 * self.features if form is None else form.row_bytes(self.features)
        gathered = self.rows("gathered", row_bytes)
        self.lowering.part("gather")
        self.gather(gathered, row_bytes)
        self.lowering.part("up", [*lists["gate"], *lists["up"]])
        size = 64 * first.num_blocks
        product, biases = self.rows("first", size * (1 + len(others))), [lists["gateBias"], lists["upBias"]]
        if all(other.format == first.format for other in others):
            self.multiply([first, *others], gathered, biases, product, self.source)
        else:
            for number, each in enumerate((first, *others)):
                beside = Place(product.address + number * size, product.stride)
                self.multiply([each], gathered, [biases[number]], beside, self.source)
        self.lowering.part("gate")
        second = self.lowering.matrices(lists["down"])
        gated = self.rows_gated(gate, product, size, second.format.activations)
        self.lowering.part("down", lists["down"])
        result = self.rows("second", 64 * second.num_blocks)
        self.multiply([second], gated, [lists["downBias"]], result, None)
        self.lowering.part("sum")
        self.combine(result)

    def rows(self, name: str, size: int) -> Place:
        """Memory for a row of so many bytes for each slot."""
        stride = -(-size // 64) * 64
        return Place(self.lowering.temporary(name, stride * self.slots), stride)

    def sort(self) -> None:
        from ftllm_nb.kernels.experts import ROUTE, route, route_scratch_bytes

        index, score = self.lowering.place(self.index), self.lowering.place(self.score)
        self.lowering.need_scratch(route_scratch_bytes(self.experts))
        self.lowering.routes(self.units, self.experts)
        self.lowering.add(
            route,
            *ROUTE.values(
                index=index.address, index_stride=index.stride, score=score.address, score_stride=score.stride,
                picks=self.picks, experts=self.experts, count=self.count, units=self.units, tokens=self.tokens,
                slots=self.slot_of, weights=self.weights,
            ),
        )  # fmt: skip

    def gather(self, target: Place, size: int) -> None:
        from ftllm_nb.kernels.experts import GATHER, gather

        self.lowering.add(
            gather,
            *GATHER.values(
                input=self.source.address, input_stride=self.source.stride, output=target.address,
                output_stride=target.stride, size=size, tokens=self.tokens, picks=self.picks, count=self.count,
            ),
        )  # fmt: skip

    def multiply(
        self,
        parts: Sequence[PackedMatrices],
        source: Place,
        biases: Sequence[Sequence[Tensor]],
        target: Place,
        direct: Place | None,
    ) -> None:
        """The row of a product with each expert's matrices, one of each part, and the biases of parts that have any."""
        from ftllm_nb.kernels.experts import PRODUCT
        from ftllm_nb.kernels.tiling import PANEL_BLOCKS

        packed, count = parts[0], len(parts)
        features = 16 * packed.num_blocks
        bias, stride = self.lowering.vector([None], [features * count]), 0
        if any(biases[:count]):
            given = [[each[expert] if each else None for each in biases[:count]] for expert in range(self.experts)]
            vectors = [vector for expert in given for vector in expert]
            bias = self.lowering.vector(vectors, [each.type.size(0) if each else features for each in vectors])
            stride = 4 * features * count
        addresses = [address for expert in zip(*(part.addresses for part in parts), strict=True) for address in expert]
        self.lowering.need_scratch(packed.format.linear_scratch_bytes(packed.columns))
        self.lowering.add(
            packed.format.expert_linear_kernel(),
            *PRODUCT.values(
                input=source.address, input_stride=source.stride, columns=packed.columns,
                matrices=self.lowering.table(addresses), parts=count, block_stride=packed.block_bytes,
                blocks=packed.num_blocks, bias=bias, bias_stride=stride, output=target.address,
                output_stride=target.stride, units=self.units, tokens=self.tokens,
                direct=0 if direct is None else direct.address, direct_stride=0 if direct is None else direct.stride,
            ),
            reads=Reads(min(PANEL_BLOCKS, packed.num_blocks) * packed.block_bytes),
        )  # fmt: skip

    def rows_gated(self, gate: _Gate, product: Place, up: int, form: ActivationForm | None) -> Place:
        """What the second product reads, in a form, or as float32. `up`: where it begins in a row, if it is no part of
        gate."""
        from ftllm_nb.kernels import expert_gates

        numbers = self.attributes
        size = self.lists["down"][0].type.size(-1)
        if not self.lists["up"]:
            up = 4 * size
        columns, group, middle, row_bytes = size, 0, 0, 4 * size
        if form is not None:
            assert isinstance(form, Int8Form), "for_rows"
            columns, group, middle = form.columns(size), form.group_columns(size), form.code
            row_bytes = form.row_bytes(size)
            self.lowering.need_scratch(4 * columns)
        target = self.rows("gated", row_bytes)
        self.lowering.add(
            getattr(expert_gates, gate.kernels)[0 if form is None else 1],
            *expert_gates.GATE.values(
                input=product.address, input_stride=product.stride, up=up, output=target.address,
                output_stride=target.stride, size=size, columns=columns, group=group, middle=middle, picks=self.picks,
                count=self.count, alpha=float(numbers["alpha"]), limit=float(numbers["limit"]),
            ),
        )  # fmt: skip
        return target

    def combine(self, result: Place) -> None:
        from ftllm_nb.kernels.experts import COMBINE, combine

        target = self.lowering.place(self.output)
        self.lowering.add(
            combine,
            *COMBINE.values(
                input=result.address, input_stride=result.stride, output=target.address, output_stride=target.stride,
                size=self.features, slots=self.slot_of, weights=self.weights, picks=self.picks, count=self.count,
            ),
        )  # fmt: skip

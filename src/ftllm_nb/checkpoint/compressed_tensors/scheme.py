"""How one kind of module is stored in the compressed-tensors layout: an entry of `config_groups`, in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError
from ftllm_nb.quantized_type import COLUMNS_MULTIPLE, QuantizedType

PACK_QUANTIZED = "pack-quantized"
"""Numbers packed into int32 words: `weight_packed`."""
INT_QUANTIZED = "int-quantized"
"""A number a byte: `weight` of type int8; what vLLM takes for int8 activations."""
NAIVE_QUANTIZED = "naive-quantized"
"""Stored as int-quantized."""
LAYOUTS = (PACK_QUANTIZED, INT_QUANTIZED, NAIVE_QUANTIZED)
FLOAT_LAYOUTS = (
    "float-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp6-pack-quantized", "mxfp8-quantized",
)  # fmt: skip
"""Those of numbers that are floats, which their tensors tell (checkpoint/foreign/float_matrices.py)."""
BITS = (2, 3, 4, 5, 6, 7, 8)
KEPT = (4, 8)
"""Bits of our own types: of numbers of fewer bits, the next ones."""
TENSOR, CHANNEL, GROUP = "tensor", "channel", "group"
STRATEGIES = (TENSOR, CHANNEL, GROUP)
ORDERS = ("weight", "static", "group", "dynamic")
"""Of `actorder`: of the last two, which are one, columns do not lie in their groups."""


@dataclass(frozen=True)
class WeightScheme:
    """How matrices are stored: `bits` a number (2 to 8), a scale for each `group` columns of each row (0: for each
    row), a zero point beside each scale unless `symmetric`. `layout`: one of `LAYOUTS`.

    `int8_activations`: inputs are meant to be rounded to int8, a scale a token, while the model runs. `spread`: rows
    are spread first, as no other program has them (`QuantizedType.spread`). `is_ordered`: columns were ordered by
    their activations, so that groups are not runs of them. `is_whole`: all rows share one scale.
    """

    bits: int
    group: int = 0
    symmetric: bool = True
    layout: str = PACK_QUANTIZED
    int8_activations: bool = False
    spread: bool = False
    is_ordered: bool = False
    is_whole: bool = False

    @property
    def kept_bits(self) -> int:
        """Of the type that the numbers have in memory."""
        return next(bits for bits in KEPT if bits >= self.bits)

    def groups(self, columns: int) -> int:
        """Scales of a row of so many columns."""
        return self.type.groups(columns)

    @property
    def name(self) -> str:
        """As `--dtype` names it: int8, int4g128."""
        return self.type.name

    @property
    def type(self) -> QuantizedType:
        """The type of matrices that this package writes so: scales are float16."""
        return QuantizedType(self.kept_bits, self.group, zero_points=not self.symmetric, spread=self.spread)


def write_scheme(scheme: WeightScheme, targets: Sequence[str] = ("Linear",)) -> dict[str, Any]:
    """The entry of `config_groups` for modules that `targets` name: classes, names, or "re:" and an expression."""
    weights: dict[str, Any] = {
        "num_bits": scheme.bits,
        "type": "int",
        "symmetric": scheme.symmetric,
        "strategy": GROUP if scheme.group else CHANNEL,
        "group_size": scheme.group or None,
        "dynamic": False,
    }
    activations = None
    if scheme.int8_activations:
        activations = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
    return {
        "targets": list(targets),
        "weights": weights,
        "input_activations": activations,
        "output_activations": None,
        "format": scheme.layout,
    }


def read_scheme(entry: dict[str, Any], layout: str, where: str) -> WeightScheme | None:
    """The scheme that an entry of `config_groups` describes; `layout`: the config's, for entries without their own.

    None for floats of few bits. Raises CheckpointError, which begins with `where`, for what cannot be read.
    """
    layout = entry.get("format") or layout
    if layout not in (*LAYOUTS, *FLOAT_LAYOUTS):
        known = ", ".join((*LAYOUTS, *FLOAT_LAYOUTS))
        raise CheckpointError(f"{where} has the format {shown(layout)}; supported are {known}.")
    weights = entry.get("weights")
    if not isinstance(weights, dict):
        raise CheckpointError(f"{where} has the weights {shown(weights)}, but an object was expected.")
    if weights.get("type", "int") == "float" and layout in (*FLOAT_LAYOUTS, NAIVE_QUANTIZED):
        return None
    if weights.get("type", "int") != "int":
        raise CheckpointError(f"{where} has weights of the type {shown(weights.get('type'))}; supported is int.")
    bits = weights.get("num_bits", 8)
    if type(bits) is not int or bits not in BITS:
        raise CheckpointError(f"{where} has the num_bits {shown(bits)}; supported are {BITS[0]} to {BITS[-1]}.")
    order = weights.get("actorder")
    if order not in (None, False, True, *ORDERS):
        raise CheckpointError(f"{where} has the actorder {shown(order)}; supported are {', '.join(ORDERS)}.")
    is_ordered = order in (*ORDERS[2:], True)
    symmetric = weights.get("symmetric", True)
    if type(symmetric) is not bool:
        raise CheckpointError(f"{where} has the symmetric {shown(symmetric)}, but true or false was expected.")
    rounds = entry.get("input_activations") is not None
    strategy = _strategy(weights, where)
    group = _group(weights, where) if strategy == GROUP else 0
    return WeightScheme(bits, group, symmetric, layout, rounds, is_ordered=is_ordered, is_whole=strategy == TENSOR)


def _strategy(weights: dict[str, Any], where: str) -> str:
    """What shares a scale."""
    size, strategy = weights.get("group_size"), weights.get("strategy")
    if strategy is None:
        strategy = TENSOR if size is None else CHANNEL if size == -1 else GROUP
    if strategy not in STRATEGIES:
        raise CheckpointError(f"{where} has the strategy {shown(strategy)}; supported are {', '.join(STRATEGIES)}.")
    return str(strategy)


def _group(weights: dict[str, Any], where: str) -> int:
    """Columns of a group."""
    size = weights.get("group_size")
    if type(size) is not int or size <= 0 or size % COLUMNS_MULTIPLE:
        raise CheckpointError(
            f"{where} has the group_size {shown(size)}; supported are multiples of {COLUMNS_MULTIPLE}."
        )
    return size

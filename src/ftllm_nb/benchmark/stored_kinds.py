"""What a file holds by kind of tensor: its types as the file names them, bits a weight, what each becomes in memory."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftllm_nb.checkpoint import TensorInfo
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.graph.ir import CheckedGraph

_LAYER = re.compile(r".*?\.\d+\.")


@dataclass(frozen=True)
class StoredKind:
    """Tensors of one name in all layers that are stored in one type and become one in memory.

    `numbers` and `nbytes` are those of all `count` of them; `becomes` is "" where nothing reads them.
    """

    name: str
    type: str
    becomes: str
    is_matrix: bool
    count: int
    numbers: int
    nbytes: int


def stored_kinds(tensors: Mapping[str, TensorInfo], graph: CheckedGraph) -> list[StoredKind]:
    """The kinds of a checkpoint whose file has types of its own, those of one name together; [] for others."""
    format_of, packed = WeightTypes().formats(graph), set(graph.packed)
    becomes = {
        weight.tensor: format_of(weight).name if weight in packed else "float32" for weight in graph.weights.values()
    }
    groups: dict[tuple[str, str, str, bool], list[TensorInfo]] = {}
    for info in tensors.values():
        if info.stored:
            name = _LAYER.sub("", info.name, count=1).removesuffix(".weight")
            groups.setdefault((name, info.stored, becomes.get(info.name, ""), len(info.shape) > 1), []).append(info)
    order = {name: at for at, (name, *_) in reversed(list(enumerate(groups)))}
    return [
        StoredKind(*key, len(found), sum(math.prod(each.shape) for each in found), sum(each.nbytes for each in found))
        for key, found in sorted(groups.items(), key=lambda group: order[group[0][0]])
    ]


def kind_lines(kinds: Sequence[StoredKind]) -> list[str]:
    """A line for each kind of matrix, one for all vectors, and one for the whole file."""
    rows = [
        (kind.name, f"{kind.type} × {kind.count}", f"{8 * kind.nbytes / kind.numbers:.2f} bits a weight",
         f"in memory {kind.becomes}" if kind.becomes else "not read")
        for kind in kinds if kind.is_matrix
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    vectors = Counter[str]()
    for kind in kinds:
        vectors[kind.type] += 0 if kind.is_matrix else kind.count
    listed = [f"{name} × {count}" for name, count in vectors.most_common() if count]
    size, numbers = sum(kind.nbytes for kind in kinds), sum(kind.numbers for kind in kinds)
    whole = f"all of {size / 1e6:,.1f} MB: {8 * size / numbers:.2f} bits a weight"
    return [*lines, *([f"vectors: {', '.join(listed)}"] if listed else []), whole]

"""Groups that do not divide a model's columns are filled up: what that costs is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.graph.ir import Value
from ftllm_nb.graph.types import TensorType
from ftllm_nb.quant import quantized_types
from ftllm_nb.quant.base import weight_format


def graph(*shapes: tuple[int, int]) -> Any:
    """What `padded_groups` looks at: matrices of these shapes, and no embedding."""
    packed = [Value(f"{n}", TensorType(shape, "bfloat16"), "weight") for n, shape in enumerate(shapes)]
    return SimpleNamespace(packed=packed, nodes=[], logits=None)


def test_a_sentence_where_blocks_do_not_divide_columns() -> None:
    sentences = WeightTypes("q4_k").padded_groups(graph((64, 576), (64, 512), (64, 90), (64, 1536)))
    assert sentences == [
        "blocks of q4_k do not divide 576 columns: those matrices are q5_0.",
        "blocks of q4_k do not divide 90 columns: those matrices are int8g32.",
    ]


@pytest.mark.parametrize(
    "dtype, shapes, best",
    [
        ("int8g128", [(1536, 576), (576, 1536)], "int8g64"),
        ("int4g256", [(64, 96)], "int4g32"),
        ("int4g256", [(64, 96), (64, 160)], "int4g32"),
        ("int8g128", [(64, 1536)], None),
        ("int8g32", [(64, 40)], None),
        ("int8", [(64, 576)], None),
        ("auto", [(64, 576)], None),
        ("int8g128", [(64, 127)], None),
    ],
)
def test_a_sentence_where_finer_groups_take_less(dtype: str, shapes: list[tuple[int, int]], best: str | None) -> None:
    sentences = WeightTypes(dtype).padded_groups(graph(*shapes))
    if best is None:
        assert sentences == []
        return
    padded = [shape for shape in shapes if shape[1] % quantized_types()[dtype].group]
    sizes = [sum(weight_format(name).packed_bytes(*shape) for shape in padded) for name in (dtype, best)]
    assert sizes[1] < sizes[0] and len(sentences) == 1
    columns = " and ".join(sorted({str(shape[1]) for shape in padded}, key=int))
    assert sentences[0].startswith(f"groups of {dtype.partition('g')[2]} do not divide {columns} columns")
    assert f"{dtype} takes {sizes[0] / 1e6:.1f} MB" in sentences[0]
    assert f"{best} takes {sizes[1] / 1e6:.1f} MB" in sentences[0] and sentences[0].endswith("(--dtype).")

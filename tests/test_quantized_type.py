"""The types of quantized matrices: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.quantized_type import QuantizedType

types = st.builds(
    QuantizedType,
    bits=st.sampled_from([4, 8]),
    group=st.integers(0, 20).map(lambda number: 32 * number),
    scales=st.sampled_from(["float16", "bfloat16", "float32"]),
    zero_points=st.booleans(),
    spread=st.booleans(),
)


@given(types)
def test_a_type_is_read_as_it_was_written(type: QuantizedType) -> None:
    assert QuantizedType.parse(str(type)) == type
    assert QuantizedType.named(type.name) == QuantizedType(type.bits, type.group)


@pytest.mark.parametrize(
    ("type", "text"),
    [
        (QuantizedType(4, 128), "int4g128_float16"),
        (QuantizedType(8, scales="bfloat16", zero_points=True), "int8z_bfloat16"),
        (QuantizedType(4, 96, "float32", True), "int4g96z_float32"),
        (QuantizedType(8, 64, spread=True), "int8g64h_float16"),
    ],
)
def test_how_types_are_written(type: QuantizedType, text: str) -> None:
    assert str(type) == text and QuantizedType.parse(text) == type


@pytest.mark.parametrize(
    "text",
    ["", "int4", "int4g128", "int5_float16", "int4g0_float16", "int4g33_float16", "int4g\u0663\u0662_float16",
     "int4_int8", "float16", "xint4_float16", "int4_float16 "],
)  # fmt: skip
def test_what_is_no_type(text: str) -> None:
    assert QuantizedType.parse(text) is None


@given(types, st.integers(1, 2000))
def test_rows_are_filled_up_to_whole_groups(type: QuantizedType, columns: int) -> None:
    padded = type.padded_columns(columns)
    assert columns <= padded < columns + (type.group or 32) and padded % (type.group or 32) == 0
    assert type.groups(columns) == (padded // type.group if type.group else 1)

"""The types that --dtype takes: their names are known at once, and each makes the format that it names."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from ftllm_nb.errors import UsageError
from ftllm_nb.quant import quantized_types, weight_formats
from ftllm_nb.quant.base import weight_format
from ftllm_nb.quant.integers import IntegerFormat
from ftllm_nb.quantized_type import QuantizedType

NAMES = [
    "bfloat16", "float16", "float32", "int4", "int4g", "int4g128", "int4g256", "int4g32", "int4g64", "int8", "int8g128",
    "int8g32", "int8g64", "iq4_nl", "iq4_xs", "q4_1", "q4_k", "q5_0", "q5_1", "q5_k", "q6_k",
]  # fmt: skip


def test_names_are_known_before_kernels_are_imported() -> None:
    program = "import sys; from ftllm_nb.quant import weight_formats; print(*weight_formats(), 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*NAMES, "False"]


@pytest.mark.parametrize("name", NAMES)
def test_each_makes_its_format(name: str) -> None:
    format = weight_format(name)
    assert format == weight_format(name) and format.name == ("int4g128" if name == "int4g" else name)
    if name in quantized_types():
        assert isinstance(format, IntegerFormat) and format.type == quantized_types()[name]
        assert QuantizedType.named(format.name) == replace(format.type, spread=False)
        assert format.type.spread == (format.type.bits == 8)


def test_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match=f'"int3" is no weight type; known are auto, {", ".join(weight_formats())}$'):
        weight_format("int3")

"""The type of a quantized matrix: how its whole numbers stand for floats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeGuard

COLUMNS_MULTIPLE = 32
"""Groups are multiples of this, and rows without groups are filled up to one: what the kernels walk."""
_TYPE = re.compile(
    r"int(?P<bits>4|8)(?:g(?P<group>[1-9][0-9]*))?(?P<zeros>z?)(?P<spread>h?)_(?P<scales>float16|bfloat16|float32)"
)
_SCALED = re.compile(
    r"(?P<code>[a-z]+[0-9](?:m[0-9])?)(?:g(?P<group>[1-9][0-9]*))?(?P<offsets>o?)_(?P<scales>float16|bfloat16|float32)"
)


@dataclass(frozen=True)
class QuantizedType:
    """weight = (number − zero point) · scale, with numbers of `bits` bits, 4 or 8.

    A scale for each `group` columns of a row, 0 for the whole row; `scales`: their type, "float16", "bfloat16" or
    "float32". `zero_points`: whether there is one beside each scale; without, it is half the range. `spread`: whether
    what shares a scale was multiplied by Hadamard's matrix first (ftllm_nb/hadamard.py).
    """

    bits: int
    group: int = 0
    scales: str = "float16"
    zero_points: bool = False
    spread: bool = False

    @classmethod
    def parse(cls, text: str) -> QuantizedType | None:
        """The type that `str()` writes so, where the group is one that kernels walk; None for others."""
        found = _TYPE.fullmatch(text)
        if found is None or int(found["group"] or 0) % COLUMNS_MULTIPLE:
            return None
        bits, group = int(found["bits"]), int(found["group"] or 0)
        return cls(bits, group, found["scales"], bool(found["zeros"]), bool(found["spread"]))

    @classmethod
    def named(cls, name: str) -> QuantizedType | None:
        """The type with float16 scales and no zero points that `--dtype` names so; None for others."""
        return cls.parse(f"{name}_float16")

    @property
    def name(self) -> str:
        """As `--dtype` names it: int8, int4g128. It does not tell the rest."""
        return f"int{self.bits}" + (f"g{self.group}" if self.group else "")

    def __str__(self) -> str:
        """As headers of packed folders name it: int4g128_float16, with zero points int4g128z_float16, spread by
        Hadamard's matrix int8g64h_float16."""
        return f"{self.name}{'z' if self.zero_points else ''}{'h' if self.spread else ''}_{self.scales}"

    @property
    def description(self) -> str:
        """As people read it: "int4g32 with zero points, bfloat16 scales"."""
        return f"{self.name}{' with zero points' if self.zero_points else ''}, {self.scales} scales"

    @property
    def half(self) -> int:
        """Half the range: what is added to signed numbers to make them unsigned."""
        return 1 << (self.bits - 1)

    def padded_columns(self, columns: int) -> int:
        """Columns of a row, filled up to whole groups."""
        multiple = self.group or COLUMNS_MULTIPLE
        return -(-columns // multiple) * multiple

    def groups(self, columns: int) -> int:
        """Scales of a row."""
        return self.padded_columns(columns) // self.group if self.group else 1


@dataclass(frozen=True)
class BlockedType:
    """One of ggml's block types, by the name that GGUF gives it ("Q4_K"); checkpoint/ggml knows what they are."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def description(self) -> str:
        """As people read it."""
        return self.name


@dataclass(frozen=True)
class ScaledType:
    """weight = what a code stands for · scale, plus an offset where there are `offsets`.

    `code`: of checkpoint/codes.py ("e4m3"). A scale for each `group` columns of a row, 0 for the whole row; `scales`:
    their type, and that of offsets, "float16", "bfloat16" or "float32".
    """

    code: str
    group: int = 0
    scales: str = "float32"
    offsets: bool = False

    @classmethod
    def parse(cls, text: str) -> ScaledType | None:
        """The type that `str()` writes so, None for others; whether there is such a code is not asked."""
        found = _SCALED.fullmatch(text)
        if found is None:
            return None
        return cls(found["code"], int(found["group"] or 0), found["scales"], bool(found["offsets"]))

    @property
    def name(self) -> str:
        """As it is called in tables: e4m3g128."""
        return self.code + (f"g{self.group}" if self.group else "")

    def __str__(self) -> str:
        return f"{self.name}{'o' if self.offsets else ''}_{self.scales}"

    @property
    def description(self) -> str:
        """As people read it: "nf4g64, float32 scales"."""
        return f"{self.name}{' with offsets' if self.offsets else ''}, {self.scales} scales"

    def groups(self, columns: int) -> int:
        """Scales of a row."""
        return -(-columns // self.group) if self.group else 1


ElementType = str | QuantizedType | BlockedType | ScaledType
"""The type of a tensor: a float's or another type's name, or that of a quantized matrix."""


def is_quantized(type: ElementType) -> TypeGuard[QuantizedType | BlockedType | ScaledType]:
    """Whether it is that of a quantized matrix."""
    return not isinstance(type, str)

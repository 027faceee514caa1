"""Names for the arguments of a kernel's rows."""

from __future__ import annotations

from collections import namedtuple
from typing import Any


def row_fields(*names: str) -> Any:
    """The arguments of a kernel's rows, by name: `FIELDS = row_fields("input", "input_stride", "size")`.

    Inside of a kernel, `FIELDS.input` is a constant: `argument(row, FIELDS.input)`. Where an operator is lowered,
    `lowering.add(kernel, *FIELDS.values(input=…, input_stride=…, size=…))` takes each of them once; raises
    `TypeError` for one that is missing or that there is not.
    """

    def values(self: Any, **given: int | float) -> tuple[int | float, ...]:
        missing, unknown = [name for name in names if name not in given], [name for name in given if name not in names]
        if missing or unknown:
            problem = f"lacks {', '.join(missing)}" if missing else f"has no field {', '.join(unknown)}"
            raise TypeError(f"the kernel's row {problem}; its fields are {', '.join(names)}")
        return tuple(given[name] for name in names)

    plain = namedtuple("plain", names)  # type: ignore[misc]  # the names are known when it runs
    return type("RowFields", (plain,), {"values": values})(*range(len(names)))

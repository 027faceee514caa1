"""The graph as a table of text: an operator a line, repeated layers folded."""

from __future__ import annotations

from collections.abc import Iterable

from ftllm_nb.outline.folding import Section
from ftllm_nb.outline.steps import Step, Weight
from ftllm_nb.outline.totals import shown_count

HEAD = ("#", "operator", "reads", "writes", "weight", "type", "MB", "FLOPs", "state", "line")
_RIGHT = {"#", "MB", "FLOPs"}

def table_lines(sections: list[Section]) -> list[str]:
    """The lines, under a head; shapes are those of one token."""
    rows: list[tuple[str, ...] | str] = [HEAD]
    for section in sections:
        if section.title:
            rows.append(f"── {section.title}")
        elif section.first:
            rows.append("──")
        for step in section.steps:
            rows += _rows(step, section)
    widths = [max(len(row[column]) for row in rows if isinstance(row, tuple)) for column in range(len(HEAD))]
    return [row if isinstance(row, str) else _line(row, widths) for row in rows]


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = (
        text.rjust(width) if name in _RIGHT else text.ljust(width)
        for name, text, width in zip(HEAD, row, widths, strict=True)
    )
    return "  ".join(cells).rstrip()


def _rows(step: Step, section: Section) -> Iterable[tuple[str, ...]]:
    """A line for the operator and its first weight, and one for each further weight."""
    weights = [_weight_cells(weight, section) for weight in step.weights] or [("", "", "")]
    state = ", ".join(map(str, step.state)) + (f", {step.reach}" if step.reach else "")
    written = {tensor.name for tensor in step.outputs}
    reads = ", ".join(str(tensor) if tensor.name not in written else tensor.name for tensor in step.inputs)
    yield (
        str(step.number), step.operator, reads, ", ".join(map(str, step.outputs)), *weights[0],
        _shown_operations(step), state, _short_place(step.where),
    )  # fmt: skip
    for more in weights[1:]:
        yield ("", "", "", "", *more, "", "", "")


def _weight_cells(weight: Weight, section: Section) -> tuple[str, str, str]:
    """A weight's name with its shape, its type, and its megabytes."""
    many = f" ({weight.count} of them)" if weight.count > 1 else ""
    return f"{section.short_name(weight.name)} {weight.shape}{many}", weight.dtype, _megabytes(weight.nbytes)


def _shown_operations(step: Step) -> str:
    """Operations for a token; attention's for each position that it sees."""
    shown = [shown_count(step.operations)] * bool(step.operations)
    return " + ".join([*shown, *[f"{shown_count(step.attended)}/pos"] * bool(step.attended)])


def _short_place(where: str) -> str:
    """`model.py:12` of a whole path."""
    return where.replace("\\", "/").rpartition("/")[2]


def _megabytes(size: int) -> str:
    return f"{max(size / 1e6, 0.001):.{0 if size >= 1e8 else 2 if size >= 1e6 else 3}f}"

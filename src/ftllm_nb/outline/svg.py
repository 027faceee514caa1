"""The graph as an SVG picture: the sections below each other, kinds of layers side by side."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import pairwise

from ftllm_nb.outline.folding import Section
from ftllm_nb.outline.layout import Layout, lay_out
from ftllm_nb.outline.picture import FLOW, KINDS, PLAIN, PRODUCT, STATE, WEIGHT, Box, Drawing, drawing_of

_CHARACTER, _TITLE_CHARACTER, _LINE, _PAD = 6.7, 8.4, 15.0, 9.0
"""Width of a character, height of a line, and what is left free around a text."""
_MARGIN, _FRAME, _HEAD = 28.0, 18.0, 30.0
_MOST_BESIDE = 4
"""Kinds of layers in a row."""
_FILL = {PRODUCT: "#d6e6f7", STATE: "#e6dbf5", WEIGHT: "#fbe9c6", PLAIN: "#eef1ee", FLOW: "#ffffff"}
_STROKE = {PRODUCT: "#3a6ea5", STATE: "#7a52b3", WEIGHT: "#b98315", PLAIN: "#8a968c", FLOW: "#555555"}
_STYLE = (
    "text{font:11px ui-sans-serif,system-ui,'Helvetica Neue',Arial,sans-serif;fill:#1d2733}"
    ".t{font-weight:600;font-size:12px}.h{font-weight:600;font-size:15px}.s{fill:#4c5866}"
    ".e{fill:none;stroke:#68737f;stroke-width:1.2}.f{fill:#fafbfc;stroke:#c6ced6}"
)


def svg_text(title: str, sections: list[Section], totals: list[str]) -> str:
    """The picture as the text of a file."""
    parts: list[str] = []
    y, right = _MARGIN + 12, 0.0
    parts.append(_text(_MARGIN, y, title, "h"))
    for line in totals:
        y += 17
        parts.append(_text(_MARGIN, y, " ".join(line.split()), "s"))
    y += 22
    rows = [[(drawing, _layout(drawing)) for drawing in row] for row in _rows(sections)]
    width = max(sum(_outer(layout)[0] for _, layout in row) + _MARGIN * (len(row) - 1) for row in rows)
    for number, row in enumerate(rows):
        if number:
            middle = _MARGIN + width / 2
            parts.append(f'<path class="e" d="M{middle:.0f} {y - 22:.0f}V{y - 4:.0f}" marker-end="url(#a)"/>')
        beside = sum(_outer(layout)[0] for _, layout in row) + _MARGIN * (len(row) - 1)
        x, tallest = _MARGIN + (width - beside) / 2, 0.0
        for drawing, layout in row:
            outer_width, outer_height = _outer(layout)
            parts += _section(x, y, drawing, layout)
            x += outer_width + _MARGIN
            tallest = max(tallest, outer_height)
        right = max(right, x)
        y += tallest + _MARGIN
    parts += _legend(_MARGIN, y)
    right = max(right, _MARGIN + 720)
    y += 26
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right:.0f}" height="{y:.0f}" '
        f'viewBox="0 0 {right:.0f} {y:.0f}">\n<style>{_STYLE}</style>\n'
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#68737f"/></marker></defs>\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{chr(10).join(parts)}\n</svg>\n'
    )


def _rows(sections: list[Section]) -> Iterable[list[Drawing]]:
    """Kinds of layers beside each other, all else alone."""
    row: list[Drawing] = []
    for section in sections:
        if row and (not section.layers or len(row) == _MOST_BESIDE):
            yield row
            row = []
        row.append(drawing_of(section))
        if not section.layers:
            yield row
            row = []
    if row:
        yield row


def _layout(drawing: Drawing) -> Layout:
    return lay_out([_size(box) for box in drawing.boxes], drawing.edges, drawing.late)


def _size(box: Box) -> tuple[float, float]:
    width = max([len(box.title) * _TITLE_CHARACTER, *(len(line) * _CHARACTER for line in box.lines)])
    return width + 2 * _PAD, _LINE * (1 + len(box.lines)) + 8


def _outer(layout: Layout) -> tuple[float, float]:
    """A section's frame."""
    return max(layout.width, 190.0) + 2 * _FRAME, layout.height + 2 * _FRAME + _HEAD


def _section(x: float, y: float, drawing: Drawing, layout: Layout) -> Iterable[str]:
    width, height = _outer(layout)
    yield f'<rect class="f" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="10"/>'
    yield _text(x + 14, y + 22, drawing.title, "t")
    left = x + _FRAME + max(0.0, (width - 2 * _FRAME - layout.width) / 2)
    top = y + _FRAME + (_HEAD if drawing.title else _HEAD / 2)
    for path in layout.paths:
        yield f'<path class="e" d="{_curve(path, left, top)}" marker-end="url(#a)"/>'
    for box, spot in zip(drawing.boxes, layout.spots, strict=True):
        yield from _box(box, left + spot.x - spot.width / 2, top + spot.y - spot.height / 2, spot.width, spot.height)


def _box(box: Box, x: float, y: float, width: float, height: float) -> Iterable[str]:
    radius = height / 2 if box.kind == FLOW else 5
    yield (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:.0f}" '
        f'fill="{_FILL[box.kind]}" stroke="{_STROKE[box.kind]}"/>'
    )
    middle = x + width / 2
    yield _text(middle, y + 16, box.title, "t", centred=True)
    for number, line in enumerate(box.lines, 1):
        yield _text(middle, y + 16 + number * _LINE, line, "s", centred=True)


def _curve(path: list[tuple[float, float]], left: float, top: float) -> str:
    points = [(left + x, top + y) for x, y in path]
    text = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        text += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
    return text


def _legend(x: float, y: float) -> Iterable[str]:
    for kind, meaning in KINDS.items():
        yield (
            f'<rect x="{x:.0f}" y="{y - 10:.0f}" width="14" height="14" rx="3" fill="{_FILL[kind]}" '
            f'stroke="{_STROKE[kind]}"/>'
        )
        yield _text(x + 20, y + 1, meaning, "s")
        x += 40 + len(meaning) * _CHARACTER


def _text(x: float, y: float, text: str, style: str, centred: bool = False) -> str:
    anchor = ' text-anchor="middle"' if centred else ""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}"{anchor}>{escape(text)}</text>' if text else ""

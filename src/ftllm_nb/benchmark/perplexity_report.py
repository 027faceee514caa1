"""What a measurement of perplexity looks like: a table, JSON, and a picture of size against divergence."""

from __future__ import annotations

import html
import math
from dataclasses import asdict
from typing import Any

from ftllm_nb.benchmark.perplexity import Result, Row
from ftllm_nb.errors import UsageError

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 84, 130, 44, 56
"""Pixels around the plot."""


def as_table(result: Result) -> str:
    """What it was measured over, then the rows in markdown."""
    name_width = max(7, *(len(row.name) for row in result.rows))
    head = f"| {'weights':{name_width}} | bits a weight |       MB |          perplexity |"
    rule = f"|{'-' * (name_width + 2)}|--------------:|---------:|--------------------:|"
    if result.base is not None:
        head += " mean KL | 99th percentile | largest | same top token |"
        rule += "--------:|----------------:|--------:|---------------:|"
    head += " read tok/s | decode tok/s |"
    rule += "-----------:|-------------:|"
    lines = [
        result.over + (f"; KL divergence from {result.base}, in nats" if result.base is not None else ""),
        "",
        head,
        rule,
    ]
    lines += [_table_row(row, name_width, result.base is not None) for row in result.rows]
    return "\n".join(lines)


def _table_row(row: Row, name_width: int, with_base: bool) -> str:
    perplexity = f"{row.score.perplexity:.4g} ± {row.score.standard_error:.2g}"
    line = f"| {row.name:{name_width}} | {row.bits_a_weight:13.2f} | {row.megabytes:8.1f} | {perplexity:>19} |"
    if with_base and row.fidelity is None:
        line += f" {'base':>7} | {'':15} | {'':7} | {'':14} |"
    elif row.fidelity is not None:
        line += (
            f" {row.fidelity.mean:7.1e} | {row.fidelity.percentile_99:15.1e} | {row.fidelity.largest:7.1e} "
            f"| {row.fidelity.top_1_agreement:14.2%} |"
        )
    decode = "" if row.decode_tokens_per_s is None else f"{row.decode_tokens_per_s:.1f}"
    return f"{line} {row.score.tokens_per_s:10.1f} | {decode:>12} |"


def as_json(result: Result) -> dict[str, Any]:
    """The same, for programs; `fidelity` is null for the base itself and where there is none."""
    return asdict(result)


def as_svg(result: Result) -> str:
    """Megabytes to the right, mean KL divergence upwards, both as logarithms; a point a row.

    Raises `UsageError` where there is no base to diverge from, or no row that does.
    """
    rows = [row for row in result.rows if row.fidelity is not None and row.fidelity.mean > 0]
    if not rows:
        raise UsageError("there is nothing to draw: no row differs from a --base.")
    sizes = [math.log10(row.megabytes) for row in rows]
    means = [math.log10(row.fidelity.mean) for row in rows if row.fidelity is not None]
    x_low, x_high = min(sizes) - 0.05, max(sizes) + 0.05
    y_low, y_high = math.floor(min(means)), math.ceil(max(means) + 1e-9)

    def across(size: float) -> float:
        return LEFT + (size - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def down(mean: float) -> float:
        return HEIGHT - BOTTOM - (mean - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="24" font-weight="bold">Size and mean KL divergence from '
             f"{html.escape(str(result.base))}, {html.escape(result.over)}</text>"]  # fmt: skip
    for power in range(y_low, y_high + 1):
        y = down(power)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">1e{power}</text>')
    for size in _round_sizes(10**x_low, 10**x_high):
        x = across(math.log10(size))
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#eeeeee"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">MB of weights in memory</text>')
    taken: list[tuple[float, float]] = []
    for row, x, y in sorted(
        zip(rows, map(across, sizes), map(down, means), strict=True), key=lambda point: point[2]
    ):
        label_y = y + 4
        while any(abs(label_y - other_y) < 13 and abs(x - other_x) < 110 for other_x, other_y in taken):
            label_y += 13
        taken.append((x, label_y))
        parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x + 8:.1f}" y2="{label_y - 4:.1f}" stroke="#4878a8"/>'
        )
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#4878a8"/>')
        parts.append(f'<text x="{x + 8:.1f}" y="{label_y:.1f}">{html.escape(row.name)}</text>')
    area = f'width="{WIDTH}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="12"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {area} {style}>\n<rect {area} fill="white"/>\n{body}\n</svg>\n'


def _round_sizes(low: float, high: float) -> list[float]:
    """Numbers of one or two digits between the two, few enough to be written beside each other."""
    power = 10 ** math.floor(math.log10(low))
    for digits in ((1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9), tuple(step / 5 for step in range(5, 50))):
        sizes = [digit * scale for scale in (power, power * 10, power * 100, power * 1000) for digit in digits]
        within = [size for size in sizes if low <= size <= high]
        if len(within) >= 3:
            return within
    return within

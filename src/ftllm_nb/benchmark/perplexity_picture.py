"""Sizes and divergences as a picture: a point a row, named in a column at the right."""

from __future__ import annotations

from ftllm_nb.benchmark.perplexity import Result
from ftllm_nb.benchmark.picture import COLOUR, begin_at_zero, drawing, saved, short_name
from ftllm_nb.errors import UsageError

WIDE_RANGE = 30
"""From the smallest size to the largest: beyond it, an axis that begins at zero would press most points together."""
INCHES_A_NAME = 0.2


def draw_fidelity(result: Result, form: str) -> bytes:
    """Megabytes to the right, mean KL divergence upwards, as a file of that form, one of `picture.FORMS`.

    Raises `UsageError` where there is no base to diverge from, or no row that does.
    """
    points = sorted(
        (row.fidelity.mean, row.megabytes, row.name)
        for row in result.rows
        if row.fidelity is not None and row.fidelity.mean > 0
    )
    if not points:
        raise UsageError("there is nothing to draw: no row differs from a --base.")
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    means, sizes, names = zip(*points, strict=True)
    with drawing():
        axes_inches = max(3.3, INCHES_A_NAME * (len(points) + 1))
        figure = Figure(figsize=(9, axes_inches + 1.2))
        axes = figure.subplots()
        axes.set_title(
            f"Size and fidelity of weights, beside {short_name(str(result.base))}\n{result.over}",
            loc="left", fontsize="medium",
        )  # fmt: skip
        axes.plot(sizes, means, "o", color=COLOUR, clip_on=False)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda mean, _: f"{mean:.0e}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        if max(sizes) <= WIDE_RANGE * min(sizes):
            begin_at_zero(axes, max(sizes))
        else:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.10g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(color="#dddddd")
        axes.set_axisbelow(True)
        axes.set_xlabel("weights in memory (MB)")
        axes.set_ylabel("mean KL divergence (nats)")
        axes.autoscale_view()
        heights = axes.transAxes.inverted().transform(axes.transData.transform(list(zip(sizes, means, strict=True))))
        for name, size, mean, height in zip(
            names, sizes, means, spread(list(heights[:, 1]), INCHES_A_NAME / axes_inches), strict=True
        ):
            axes.annotate(
                short_name(name), (size, mean), (1.02, height), textcoords="axes fraction",
                va="center", fontsize="small",
                arrowprops={"arrowstyle": "-", "color": COLOUR, "linewidth": 0.6, "alpha": 0.6},
            )  # fmt: skip
        return saved(figure, form)


def spread(heights: list[float], gap: float) -> list[float]:
    """Heights in ascending order, from 0 to 1, moved as little as needed to lie `gap` apart."""
    moved = list(heights)
    for at in range(1, len(moved)):
        moved[at] = max(moved[at], moved[at - 1] + gap)
    highest = 1.0
    for at in reversed(range(len(moved))):
        moved[at] = min(moved[at], highest)
        highest = moved[at] - gap
    return moved

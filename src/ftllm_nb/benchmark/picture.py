"""What the pictures of measurements share: matplotlib's own look, whatever the user's matplotlibrc says, and forms.

matplotlib is the extra [pictures]; it is imported when a picture is drawn, not before.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMS = ("svg", "png", "pdf")
COLOUR = "#3a6ea5"
LONGEST_NAME = 48
"""Characters of a name; longer ones, mostly paths, lose their middle."""


@contextmanager
def drawing() -> Iterator[None]:
    """Draw within this: names are no formulas, text stays text, axes of logarithms end at powers of ten."""
    import matplotlib

    own: Any = {
        "axes.autolimit_mode": "round_numbers",
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.constrained_layout.use": True,
        "pdf.fonttype": 42,
        "savefig.bbox": "tight",
        "savefig.dpi": 144,
        "svg.fonttype": "none",
        "svg.hashsalt": "ftllm-nb",
        "text.parse_math": False,
    }
    before = logging.getLogger("matplotlib").level
    with matplotlib.rc_context(matplotlib.rcParamsDefault), matplotlib.rc_context(own), warnings.catch_warnings():
        # It warns of characters that its font lacks: those of a path, which an SVG still holds.
        warnings.simplefilter("ignore")
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        try:
            yield
        finally:
            logging.getLogger("matplotlib").setLevel(before)


def saved(figure: Figure, form: str) -> bytes:
    """The picture as a file of that form, one of `FORMS`; the same figure gives the same bytes."""
    file = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(file, format=form, metadata=undated.get(form))
    return file.getvalue()


def begin_at_zero(axes: Axes, largest: float) -> None:
    """Let the numbers along the bottom go from 0 to a round one that is not below the largest."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]).tick_values(0, largest)
    axes.set_xticks(ticks)
    axes.set_xlim(0, ticks[-1])


def short_name(name: str) -> str:
    """The name, without its middle where it is long."""
    if len(name) <= LONGEST_NAME:
        return name
    kept = LONGEST_NAME - 1
    return f"{name[: kept // 3]}…{name[-(kept - kept // 3) :]}"

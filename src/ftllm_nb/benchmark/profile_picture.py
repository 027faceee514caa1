"""Profiles as a picture: for each step a bar an operator, as long as its share of the step."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm_nb.benchmark.picture import COLOUR, begin_at_zero, drawing, saved, short_name
from ftllm_nb.benchmark.profile import Profile, Share

INCHES_A_BAR = 0.24
INCHES_AROUND = 0.75
"""Of each step: its title, the numbers below its bars."""


def draw_profiles(profiles: Sequence[Profile], form: str) -> bytes:
    """The picture as a file of that form, one of `picture.FORMS`."""
    from matplotlib.figure import Figure

    heights = [len(profile.by_operator) * INCHES_A_BAR + INCHES_AROUND for profile in profiles]
    with drawing():
        figure = Figure(figsize=(9, sum(heights) + 0.3))
        every_axes = figure.subplots(len(profiles), squeeze=False, gridspec_kw={"height_ratios": heights})
        for profile, axes in zip(profiles, every_axes[:, 0], strict=True):
            shares = profile.by_operator
            bars = axes.barh(range(len(shares)), [100 * share.share for share in shares], color=COLOUR)
            axes.bar_label(bars, labels=[_beside(share) for share in shares], padding=4, fontsize="small")
            axes.set_yticks(range(len(shares)), [f"{short_name(share.name)} ({share.count})" for share in shares])
            begin_at_zero(axes, max(100 * share.share for share in shares))
            axes.set_ylim(len(shares) - 0.5, -0.5)
            axes.set_title(f"{profile.test}: a step of {profile.seconds * 1e3:.2f} ms", loc="left", weight="bold")
        every_axes[-1, 0].set_xlabel("share of the step (%); after an operator, how often it runs")
        return saved(figure, form)


def _beside(share: Share) -> str:
    limit = f", {share.limit}" if share.limit else ""
    return f"{share.share:.1%}, {share.seconds * 1e3:.3g} ms{limit}"

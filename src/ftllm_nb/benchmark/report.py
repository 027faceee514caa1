"""What was measured, as a table for people and as an object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftllm_nb.benchmark.limits import MachineLimits, has_drifted, mean_limits
from ftllm_nb.benchmark.profile import Profile, as_tables
from ftllm_nb.benchmark.speed_test import SpeedTest
from ftllm_nb.benchmark.workload import ModelSize, Reached, compare_with_limits, work_of


@dataclass(frozen=True)
class Report:
    """A finished benchmark. Shares refer to the means of the limits before and after the tests."""

    cpu: str
    tier: str
    model: str
    size: ModelSize
    max_step_tokens: int
    before: MachineLimits
    after: MachineLimits
    tests: list[SpeedTest]

    @property
    def limits(self) -> MachineLimits:
        """What the machine could do during the tests."""
        return mean_limits(self.before, self.after)

    def reached(self, test: SpeedTest) -> Reached:
        """How near a test came to the limits."""
        work = work_of(test, self.size, self.max_step_tokens)
        return compare_with_limits(test, work, self.limits, self.size.multiplies_integers)

    def drifts(self) -> list[str]:
        """A sentence for each limit that changed during the tests, so that shares of it are uncertain."""
        pairs = (
            ("read bandwidth", "GB/s", self.before.read_gb_per_s, self.after.read_gb_per_s),
            ("float32 multiply-add peak", "GFLOP/s", self.before.fma_gflop_per_s, self.after.fma_gflop_per_s),
            ("int8 dot-product peak", "GOP/s", self.before.dot_gop_per_s, self.after.dot_gop_per_s),
        )
        return [
            f"The machine changed during the tests: {name} {before:.4g} {unit} before, {after:.4g} after."
            for name, unit, before, after in pairs
            if before is not None and after is not None and has_drifted(before, after)
        ]


@dataclass(frozen=True)
class ProfileReport:
    """Profiles of a model's steps, and what they were measured on. `limits`: before the steps."""

    cpu: str
    tier: str
    model: str
    size: ModelSize
    limits: MachineLimits
    profiles: list[Profile]


def profiles_as_json(report: ProfileReport) -> dict[str, Any]:
    """The profiles as an object."""
    return {**_about(report), "profiles": [asdict(profile) for profile in report.profiles]}


def profiles_as_tables(report: ProfileReport) -> str:
    """The machine, the model, and the tables of each profile."""
    model = f"{report.model}, {report.size.dtype}, {report.size.weight_bytes / 2**20:.2f} MiB"
    return "\n".join([*_heading(report), model, "", as_tables(report.profiles)])


def as_json(report: Report) -> dict[str, Any]:
    """The report as an object; numbers are null where the machine has no such limit."""
    results = []
    for test in report.tests:
        reached = report.reached(test)
        results.append(
            {
                "test": test.name,
                "batch": test.batch,
                "depth": test.depth,
                "tokens_per_s": test.tokens_per_s,
                "stddev": test.stddev,
                "gb_per_s": reached.gb_per_s,
                "gop_per_s": reached.gop_per_s,
                "share_of_limit": reached.share_of_limit,
            }
        )
    return {**_about(report), "results": results}


def _about(report: Report | ProfileReport) -> dict[str, Any]:
    limits = report.limits
    return {
        "machine": {
            "cpu": report.cpu,
            "tier": report.tier,
            "threads": limits.threads,
            "read_gb_per_s": limits.read_gb_per_s,
            "fma_gflop_per_s": limits.fma_gflop_per_s,
            "dot_gop_per_s": limits.dot_gop_per_s,
        },
        "model": {
            "name": report.model,
            "bytes": report.size.weight_bytes,
            "parameters": report.size.parameters,
            "dtype": report.size.dtype,
        },
    }


HEADINGS = ("model", "size", "params", "dtype", "threads", "test", "tokens/s", "reached", "of limit")


def as_table(report: Report) -> str:
    """The machine and its limits, then a Markdown table with one line a test, columns aligned."""
    limits = report.limits
    size = report.size
    rows = [HEADINGS]
    for test in report.tests:
        reached = report.reached(test)
        rows.append(
            (
                report.model,
                f"{size.weight_bytes / 2**20:.2f} MiB",
                f"{size.parameters / 1e6:.2f} M",
                size.dtype,
                str(limits.threads),
                test.name,
                f"{test.tokens_per_s:.2f} ± {test.stddev:.2f}",
                _rate(reached),
                "-" if reached.share_of_limit is None else f"{reached.share_of_limit:.1%} of {reached.limit}",
            )
        )
    return "\n".join([*_heading(report), "", *_aligned(rows)])


def _heading(report: Report | ProfileReport) -> list[str]:
    limits = report.limits
    dot = "none" if limits.dot_gop_per_s is None else f"{limits.dot_gop_per_s:.1f} GOP/s"
    # The peaks are those of vectors.
    above = "; AMX may pass fma with bfloat16 and dot" if report.tier == "amx" else ""
    return [
        f"{report.cpu}, tier {report.tier}, threads {limits.threads}",
        f"limits: read {limits.read_gb_per_s:.1f} GB/s over {limits.read_bytes / 2**20:.2f} MiB, "
        f"fma {limits.fma_gflop_per_s:.1f} GFLOP/s float32, dot {dot} int8{above}",
    ]


def _rate(reached: Reached) -> str:
    """The rate that the share is about."""
    if reached.limit == "read":
        return f"{reached.gb_per_s:.1f} GB/s"
    return f"{reached.gop_per_s:.1f} {'GFLOP/s' if reached.limit == 'fma' else 'GOP/s'}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if number == 0:
            rules = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
            lines.append("| " + " | ".join(rules) + " |")
    return lines

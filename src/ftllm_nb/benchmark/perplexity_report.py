"""What a measurement of perplexity looks like: a table and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ftllm_nb.benchmark.perplexity import Result, Row


def as_table(result: Result) -> str:
    """What it was measured over, then the rows in markdown."""
    names = [row.name for row in result.rows]
    return "\n".join([table_head(result, names), *(table_row(result, row, names) for row in result.rows)])


def table_head(result: Result, names: Sequence[str]) -> str:
    """The lines before the rows, which will have these names."""
    name_width = _width(names)
    head = f"| {'weights':{name_width}} | bits a weight |       MB |          perplexity |"
    rule = f"|{'-' * (name_width + 2)}|--------------:|---------:|--------------------:|"
    if result.base is not None:
        head += " mean KL | 99th percentile | largest | same top token |"
        rule += "--------:|----------------:|--------:|---------------:|"
    head += " read tok/s | decode tok/s |"
    rule += "-----------:|-------------:|"
    return "\n".join([
        result.over + (f"; KL divergence from {result.base}, in nats" if result.base is not None else ""),
        "",
        head,
        rule,
    ])  # fmt: skip


def _width(names: Sequence[str]) -> int:
    return max(7, *map(len, names))


def table_row(result: Result, row: Row, names: Sequence[str]) -> str:
    """A row, as wide as those of all these names."""
    name_width, with_base = _width(names), result.base is not None
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
    """The same, for programs; `fidelity` is null for the base itself and where there is none.

    `is_whole` is false where the run was stopped before its last row.
    """
    return asdict(result)

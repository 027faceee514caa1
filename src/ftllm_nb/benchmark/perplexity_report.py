"""What a measurement of perplexity looks like: a table and JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ftllm_nb.benchmark.perplexity import Result, Row


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

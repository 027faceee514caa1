"""A type for each matrix, chosen by measuring: what `--bits` asks for.

Each matrix alone is rounded to its smallest type, and how far that moves the model's answers is measured
(calibration/sensitivity.py). Its other types move them less by as much as their squared errors are smaller, weighted
by the mean squares of its inputs. So each type of each matrix has bits and a loss, and the sum of losses is made the
least at the bits that there are (allocation.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.weight_types import Rule
from ftllm_nb.errors import UsageError
from ftllm_nb.quantization.allocation import Option, allocate
from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.calibration.sensitivity import divergences
from ftllm_nb.quantization.formats.base import Job, Output
from ftllm_nb.quantization.methods import is_calibrated, method_module
from ftllm_nb.quantization.mixable import Floats, Mixable, Rounder, Unit
from ftllm_nb.quantization.options import Progress, QuantizeOptions

MEASURED_WINDOWS = 8
"""Of the calibration text: what roundings to measure are fitted to."""
SAMPLED_ROWS = 64
"""Of a matrix, from which the errors of types are told."""
WEIGHED_BY = "imatrix"
"""The method by which the errors of types are compared."""
SUFFIX = ".types.json"
"""Of the file beside OUT that holds what was chosen while OUT is not whole."""


@dataclass(frozen=True)
class Choice:
    """What each unit becomes."""

    units: Sequence[Unit]
    options: Sequence[Option]

    @property
    def types(self) -> dict[str, str]:
        """By the model's tensors."""
        return {
            name: option.dtype
            for unit, option in zip(self.units, self.options, strict=True)
            for name in unit.tensors
        }  # fmt: skip

    def table(self) -> str:
        """A line a type: matrices, share of the weights, bits a weight, and what is lost with it."""
        weights = sum(unit.weights for unit in self.units)
        rows = [("type", "matrices", "share", "bits a weight", "expected KL")]
        for dtype in dict.fromkeys(option.dtype for option in sorted(self.options, key=lambda each: each.bits)):
            pairs = [pair for pair in zip(self.units, self.options, strict=True) if pair[1].dtype == dtype]
            rows.append(_line(dtype, pairs, weights))
        rows.append(_line("all", list(zip(self.units, self.options, strict=True)), weights))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "| " + " | ".join(
                text.rjust(width) if column else text.ljust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ) + " |"
            for row in rows
        ]  # fmt: skip
        rule = "|" + "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)) + "|"
        return "\n".join([lines[0], rule, *lines[1:]])


def _line(name: str, pairs: Sequence[tuple[Unit, Option]], weights: int) -> tuple[str, str, str, str, str]:
    numbers = sum(unit.weights for unit, _ in pairs)
    bits, loss = (sum(getattr(option, each) for _, option in pairs) for each in ("bits", "loss"))
    return name, f"{len(pairs):,}", f"{numbers / weights:.1%}", f"{bits / numbers:.3f}", f"{loss:.2g}"


def mixed_job(
    output: Output,
    checkpoint: Checkpoint,
    options: QuantizeOptions,
    threads: int,
    *,
    out: Path | None = None,
    replaces: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[Job, Choice]:
    """The job of `options`, whose `bits` are given, with a type for each matrix, and what was chosen.

    `out`: what is to be made, or replaced; beside it lies a file that a run which is stopped leaves its choice in, and
    with `resume` it is taken from there. None: nothing is made.
    Raises `UsageError` where no types are as small, or as large.
    """
    assert options.bits is not None
    plain = replace(options, bits=None, embedding_bits=None)
    if options.looks_at_text:
        draft = output.job(checkpoint, plain)
    else:
        draft = output.job(checkpoint, replace(plain, method=WEIGHED_BY))
        plain = replace(plain, calibration=None, calibration_tokens=None)
    assert isinstance(draft, Mixable), "checked with the options"
    if out is not None:
        draft.check_place(out, replaces)
    kept = None if out is None else kept_path(out)
    units = draft.units()
    if not units:
        raise UsageError("--bits finds no matrix to choose a type for: what is multiplied by none is known of.")
    if not draft.windows:
        raise UsageError("--bits measures with a text, and an importance matrix is none: name one by --calibration.")
    _require_possible(options.bits, units)
    tables = {} if options.embedding_bits is None else draft.table_rules(options.embedding_bits)
    facts = f"{draft.identity()} {options.method} {options.bits} {sorted(tables.items())}"
    key = hashlib.sha256(facts.encode()).hexdigest()
    found = _read(kept, key, units) if kept is not None and resume else None
    if found is None:
        found = _chosen(draft, units, options.bits, options.method, threads, progress)
        if kept is not None:
            _write(kept, key, found)
    rules = tuple(
        Rule(re.compile(f"^{re.escape(name)}$"), dtype, name) for name, dtype in {**found.types, **tables}.items()
    )
    return output.job(checkpoint, replace(plain, rules=(*rules, *options.rules))), found


def _require_possible(bits: float, units: Sequence[Unit]) -> None:
    weights = sum(unit.weights for unit in units)
    for is_beyond, edge, word in ((bits.__lt__, min, "smallest"), (bits.__gt__, max, "largest")):
        limit = sum(edge(unit.bits.values()) for unit in units) / weights
        if is_beyond(limit):
            raise UsageError(
                f"--bits {bits:g} cannot be: the {word} types that fit the model's matrices take {limit:.3f} bits a "
                "weight."
            )


def _chosen(
    draft: Mixable, units: Sequence[Unit], bits: float, method: str, threads: int, progress: Progress | None
) -> Choice:
    of_tensor = {name: unit for unit in units for name in unit.tensors}
    errors: dict[str, dict[str, float]] = {}
    step = max(1, len(draft.windows) // MEASURED_WINDOWS)
    is_told = is_calibrated(method)

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress("measure", done, total)

    with draft.rounder(threads) as rounder:

        def replaced(name: str, weights: Floats, moments: Moments) -> Floats:
            unit = of_tensor[name]
            errors[name] = _errors(unit, weights, moments, rounder, is_told)
            fitted_to, by = (moments, method) if is_told else (_alike(moments), WEIGHED_BY)
            return rounder.rounded(unit.smallest, weights, fitted_to, by)

        found = divergences(
            draft.graph, draft.checkpoint, draft.windows[::step][:MEASURED_WINDOWS], set(of_tensor), replaced,
            products=is_told and method_module(method).NEEDS_PRODUCTS, progress=report,
        )  # fmt: skip
    options = {
        str(number): [
            Option(dtype, size, sum(_loss(found[name], errors[name], dtype, unit) for name in unit.tensors))
            for dtype, size in unit.bits.items()
        ]
        for number, unit in enumerate(units)
    }
    best = allocate(options, bits * sum(unit.weights for unit in units))
    return Choice(units, [best[str(number)] for number in range(len(units))])


def _errors(unit: Unit, weights: Floats, moments: Moments, rounder: Rounder, is_told: bool) -> dict[str, float]:
    """The weighted squared error of each type, from some rows; `is_told`: whether scales are fitted to the inputs."""
    rows = np.ascontiguousarray(weights[:: max(1, len(weights) // SAMPLED_ROWS)])
    counts, fitted_to = moments.mean_squares, moments if is_told else _alike(moments)
    return {
        dtype: float((np.square(rows - rounder.rounded(dtype, rows, fitted_to, WEIGHED_BY)) * counts).sum(dtype=float))
        for dtype in unit.bits
    }


def _alike(moments: Moments) -> Moments:
    """Those of features that are all as large: what a method sees that looks at no text."""
    made = Moments(moments.columns, False, 1)
    made.squares[:] = 1
    return made


def _loss(divergence: float, errors: Mapping[str, float], dtype: str, unit: Unit) -> float:
    least = errors[unit.smallest]
    return divergence * errors[dtype] / least if least > 0 else 0.0


def _write(path: Path, key: str, choice: Choice) -> None:
    content = json.dumps({"of": key, "types": [[each.dtype, each.loss] for each in choice.options]})
    partial = path.with_name(path.name + ".new")
    with contextlib.suppress(OSError):  # another run would measure again
        partial.write_text(content, encoding="utf-8")
        os.replace(partial, path)


def _read(path: Path, key: str, units: Sequence[Unit]) -> Choice | None:
    """What a stopped run of the same has chosen; None where there is none."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        pairs = stored["types"] if stored["of"] == key else []
        options = [Option(dtype, unit.bits[dtype], loss) for unit, (dtype, loss) in zip(units, pairs, strict=True)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Choice(units, options)


def kept_path(out: Path) -> Path:
    """Where the choice for OUT is kept while OUT is not whole."""
    return out.with_name(out.name + SUFFIX)



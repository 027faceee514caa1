"""Where a step's time goes: by operator and by layer, from time stamps that the walker takes between operators."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ftllm_nb.benchmark.limits import MachineLimits, measure_limits
from ftllm_nb.benchmark.speed_test import SpeedTest
from ftllm_nb.benchmark.workload import AttentionWork, size_of
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import FormatOf
from ftllm_nb.graph.program import RowLabel
from ftllm_nb.quant.activations import Int8Form

if TYPE_CHECKING:
    from ftllm_nb.llm import Model

STEPS = 10
"""Steps whose median is taken, after one to warm up: a worker that the system stopped in one of them does not count."""
OUTSIDE = "outside of layers"


@dataclass(frozen=True)
class Share:
    """Rows of a step taken together: what they are, how many, their seconds, and the share of the step.

    `rate` and `limit`: "25.1 GB/s" and "70.2% of read", or "" where no limit binds them.
    """

    name: str
    count: int
    seconds: float
    share: float
    rate: str = ""
    limit: str = ""


@dataclass(frozen=True)
class Profile:
    """A step of a test: seconds of the whole, by operator and by layer; of a mixture the experts that its last layer
    read, and how many there are."""

    test: str
    seconds: float
    by_operator: list[Share]
    by_layer: list[Share]
    experts: tuple[int, int] | None = None


def profile_test(
    executor: CompiledExecutor, test: SpeedTest, format_of: FormatOf, limits: MachineLimits, seed: int = 0
) -> Profile:
    """Profile one step of a test: a decode step, or the prefill of at most `max_step_tokens` tokens."""
    random = np.random.default_rng(seed)
    tokens = 1 if test.is_decode else min(test.tokens, executor.max_step_tokens)
    depth = test.tokens_before
    sequences = [executor.cache.new_sequence() for _ in range(test.batch)]
    for sequence in sequences:
        for begin in range(0, depth, executor.max_step_tokens):
            count = min(executor.max_step_tokens, depth - begin)
            executor.run([SequenceStep(sequence, random.integers(0, executor.vocab_size, count, np.int32))])
        executor.cache.save(sequence, depth)
    taken: dict[tuple[int, RowLabel], list[float]] = {}
    for number in range(1 + STEPS):
        ids = random.integers(0, executor.vocab_size, tokens, np.int32)
        rows = executor.profile([SequenceStep(sequence, ids) for sequence in sequences])
        for at, seen in enumerate(rows):
            if number > 0:
                taken.setdefault((at, seen.label), []).append(seen.seconds)
        for sequence in sequences:
            executor.cache.truncate(sequence, depth)
    for sequence in sequences:
        executor.cache.free(sequence)
    labels = _within_layers([label for _, label in taken])
    measured = list(zip(labels, map(statistics.median, taken.values()), strict=True))
    whole = sum(seconds for _, seconds in measured)
    counted = tokens * test.batch
    operators = [
        _operator_share(name, rows, whole, test, counted, format_of, limits)
        for name, rows in _grouped(measured, lambda label: _name(label, format_of)).items()
    ]
    layers = [
        Share(name, len(rows), sum(seconds for _, seconds in rows), sum(seconds for _, seconds in rows) / whole)
        for name, rows in _grouped(
            measured, lambda label: OUTSIDE if label.layer is None else f"layer {label.layer}"
        ).items()
    ]
    by_time = sorted(operators, key=lambda share: -share.seconds)
    return Profile(test.name, whole, by_time, layers, executor.experts_read())


def profile_model(model: Model, depth: int) -> Profile:
    """Profile a decode step of a loaded model after so many tokens. Raises `UsageError` for the reference engine."""
    loaded = model.loaded
    size = size_of(loaded.graph, loaded.weight_types)
    format_of = loaded.weight_types.formats(loaded.graph)
    limits = measure_limits(loaded.threads, size.weight_bytes)
    room = loaded.executor.max_positions - 16 - 1

    def measure(executor: Executor) -> Profile:
        if not isinstance(executor, CompiledExecutor):
            raise UsageError("a profile looks into the compiled engine, and this is the reference.")
        return profile_test(executor, SpeedTest(True, 1, depth=min(depth, room)), format_of, limits)

    return model.run(measure)


def _within_layers(labels: list[RowLabel]) -> list[RowLabel]:
    """The labels; rows that name no layer, but lie between two rows of one, belong to it."""
    layers = [label.layer for label in labels]
    before, after = list(layers), list(layers)
    for at in range(1, len(layers)):
        before[at] = layers[at] if layers[at] is not None else before[at - 1]
    for at in reversed(range(len(layers) - 1)):
        after[at] = layers[at] if layers[at] is not None else after[at + 1]
    inside = [first if first == second else None for first, second in zip(before, after, strict=True)]
    return [dataclasses.replace(label, layer=layer) for label, layer in zip(labels, inside, strict=True)]


def _grouped(
    measured: list[tuple[RowLabel, float]], key: Callable[[RowLabel], str]
) -> dict[str, list[tuple[RowLabel, float]]]:
    groups: dict[str, list[tuple[RowLabel, float]]] = {}
    for label, seconds in measured:
        groups.setdefault(key(label), []).append((label, seconds))
    return groups


def _name(label: RowLabel, format_of: FormatOf) -> str:
    if not label.weights:
        return label.operator
    matrices = [weight.type.matrices for weight in label.weights]
    rows = sum(count * rows for count, rows, _ in matrices)
    if label.share < 1:
        rows = round(rows * label.share)
    return f"{label.operator} {matrices[0][-1]} × {rows} {format_of(label.weights[0]).name}"


def _operator_share(
    name: str, rows: list[tuple[RowLabel, float]], whole: float, test: SpeedTest, tokens: int,
    format_of: FormatOf, limits: MachineLimits,
) -> Share:  # fmt: skip
    seconds = sum(each for _, each in rows)
    share = Share(name, len(rows), seconds, seconds / whole)
    label = rows[0][0]
    if label.attended or any(each.recurrent for each, _ in rows):
        layers = {label.layer: AttentionWork(label.attended, label.reach) for label, _ in rows}
        attended = sum(each.operations(test.tokens_before, tokens // test.batch) for each in layers.values())
        recurrent = sum(each.recurrent for each, _ in rows) * tokens
        rate = (attended * test.batch + recurrent) / seconds / 1e9
        of_limit = f"{rate / limits.fma_gflop_per_s:.1%} of fma"
        return dataclasses.replace(share, rate=f"{rate:.1f} GFLOP/s", limit=of_limit)
    if not label.is_product:
        return share
    sizes = [weight.type.matrices for weight in label.weights]
    if test.is_decode and tokens == 1:
        read = sum(
            count * format_of(weight).packed_bytes(out, columns)
            for weight, (count, out, columns) in zip(label.weights, sizes, strict=True)
        )
        rate = read * label.share * len(rows) / seconds / 1e9
        limit = limits.read_gb_per_s
        return Share(name, len(rows), seconds, share.share, f"{rate:.1f} GB/s", f"{rate / limit:.1%} of read")
    multiplied = 1 if label.layer is None and not test.is_decode else tokens
    rate = 2 * multiplied * label.share * sum(math.prod(size) for size in sizes) * len(rows) / seconds / 1e9
    peak, what, unit = limits.fma_gflop_per_s, "fma", "GFLOP/s"
    if isinstance(format_of(label.weights[0]).activations, Int8Form):
        if limits.dot_gop_per_s is None:
            return dataclasses.replace(share, rate=f"{rate:.1f} GOP/s")
        peak, what, unit = limits.dot_gop_per_s, "dot", "GOP/s"
    return Share(name, len(rows), seconds, share.share, f"{rate:.1f} {unit}", f"{rate / peak:.1%} of {what}")


def as_tables(profiles: Sequence[Profile]) -> str:
    """Each step's table by operator, then by layer."""
    lines: list[str] = []
    for profile in profiles:
        lines += [f"{profile.test}: a step of {profile.seconds * 1e3:.2f} ms", ""]
        for heading, shares in (("operator", profile.by_operator), ("layer", profile.by_layer)):
            width = max(len(heading), *(len(share.name) for share in shares))
            lines.append(f"| {heading:{width}} | rows |  time (ms) |  share | {'reached':>14} | {'of limit':>14} |")
            lines.append(f"| {'-' * width} | ---: | ---------: | -----: | {'-' * 13}: | {'-' * 13}: |")
            lines += [
                f"| {share.name:{width}} | {share.count:4} | {share.seconds * 1e3:10.3f} | {share.share:6.1%} "
                f"| {share.rate:>14} | {share.limit:>14} |"
                for share in shares
            ]
            lines.append("")
        if profile.experts is not None:
            lines += ["experts read in the last layer: {} of {}".format(*profile.experts), ""]
    return "\n".join(lines)


def as_operator_rows(profile: Profile, columns: int) -> list[str]:
    """A line an operator, for people: share, milliseconds, name and how near to its limit it comes."""
    lines = []
    for share in profile.by_operator:
        limit = f", {share.limit}" if share.limit else ""
        lines.append(f"{share.share:6.1%} {share.seconds * 1e3:8.3f} ms  {share.name} ({share.count}){limit}"[:columns])
    return lines

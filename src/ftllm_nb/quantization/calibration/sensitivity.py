"""How far a model's answers move when one of its matrices is rounded: measured, without a gradient.

Some short sequences go through the graph, a layer at a time. At each layer they fork: once for each matrix, which is
rounded there, and once for all of the layer's together. What a matrix alone changes is seen where the layer ends: the
share of each token's features that moved. What a layer changes is seen in the logits, for which its fork goes through
the layers that follow. A matrix has its share of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.computed_weights import with_computed_weights
from ftllm_nb.errors import EngineError
from ftllm_nb.graph.ir import CheckedGraph, Value
from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.calibration.walk import Layer, Progress, Stream, Walk, layers_of

Floats = NDArray[np.float32]
Replace = Callable[[str, Floats, Moments], Floats]
"""From a tensor's name, the matrix as products read it and the moments of what it is multiplied by to a rounded one."""
JUDGED_WINDOWS, JUDGED_TOKENS = 2, 96
"""Windows that are judged, and of each so many of its first tokens."""


@dataclass(eq=False)
class _Fork:
    """`moved`: by tensor, how far it alone moves what its layer gives."""

    streams: list[Stream]
    moved: dict[str, float] = field(default_factory=dict)
    divergence: float = 0.0


def divergences(
    graph: CheckedGraph,
    checkpoint: Checkpoint,
    windows: Sequence[NDArray[np.int32]],
    wanted: set[str],
    replace: Replace,
    *,
    products: bool,
    progress: Progress | None = None,
) -> dict[str, float]:
    """For each wanted tensor, about the mean KL divergence of next-token distributions, in nats, if `replace` changes
    that tensor alone. Raises `EngineError` where what the model makes of the windows is not finite."""
    walk = Walk(graph, with_computed_weights(checkpoint, graph))
    streams = [Stream(ids) for ids in windows]
    judged = [Stream(ids[:JUDGED_TOKENS]) for ids in _spaced(windows, JUDGED_WINDOWS)]
    forks: list[_Fork] = []
    layers = layers_of(graph.nodes)
    for number, nodes in enumerate(layers):

        def report(done: int, number: int = number) -> None:
            if progress is not None:
                progress(number * len(windows) + done, len(layers) * len(windows))

        with walk.layer(nodes) as layer:
            before = [stream.fork() for stream in judged]
            captured = layer.observe(streams, wanted, products, report)
            base = [layer.run(stream) for stream in judged]
            for fork in forks:
                _judge(fork, [layer.run(stream) for stream in fork.streams], base)
            if captured:
                forks.append(_forked(layer, captured, replace, before, judged, base))
    return {name: share for fork in forks for name, share in _shares(fork).items()}


def _spaced(windows: Sequence[NDArray[np.int32]], count: int) -> Sequence[NDArray[np.int32]]:
    return windows[:: max(1, len(windows) // count)][:count]


def _forked(
    layer: Layer,
    captured: Mapping[str, Moments],
    replace: Replace,
    before: Sequence[Stream],
    after: Sequence[Stream],
    base: Sequence[Floats | None],
) -> _Fork:
    """The fork of a layer whose matrices are all rounded, with what each alone moves."""
    whole = _Fork([stream.fork() for stream in before])
    changes: dict[Value, Floats] = {}
    for name, moments in captured.items():
        changed = {value: replace(name, layer.weights[value], moments) for value in layer.matrices(name)}
        alone = _Fork([stream.fork() for stream in before])
        _judge(alone, [layer.run(stream, replaced=changed) for stream in alone.streams], base)
        whole.moved[name] = alone.divergence or float(np.mean([
            moved(one, other) for one, other in zip(after, alone.streams, strict=True)
        ]))  # fmt: skip
        changes |= changed
    _judge(whole, [layer.run(stream, replaced=changes) for stream in whole.streams], base)
    return whole


def _shares(fork: _Fork) -> dict[str, float]:
    total = sum(fork.moved.values())
    if not np.isfinite(total + fork.divergence):
        raise EngineError("the calibration text makes logits infinite or NaN: calibrate with another text.")
    factor = fork.divergence / total if total > 0 else 0.0
    return {name: factor * share for name, share in fork.moved.items()}


def _judge(fork: _Fork, logits: Sequence[Floats | None], base: Sequence[Floats | None]) -> None:
    """Note how far logits are from the base's, in the layer that makes them."""
    pairs = [(one, own) for one, own in zip(base, logits, strict=True) if one is not None and own is not None]
    if pairs:
        fork.divergence = float(np.mean([mean_divergence(one, own) for one, own in pairs]))


def moved(one: Stream, other: Stream) -> float:
    """Of the values that later layers read, the mean over tokens of |difference|² / |value|², added up."""
    total = 0.0
    for value, kept in one.kept.items():
        rows = kept.reshape(len(one.ids), -1)
        squares = np.square(rows).sum(1, dtype=np.float64)
        off = np.square(rows - other.kept[value].reshape(rows.shape)).sum(1, dtype=np.float64)
        total += float((off / np.maximum(squares, np.finfo(np.float32).tiny)).mean())
    return total


def mean_divergence(base: Floats, other: Floats) -> float:
    """The mean over rows of KL(base ‖ other), in nats, of distributions given as logits [tokens, vocabulary]."""
    total = 0.0
    for one, own in zip(base, other, strict=True):
        log_p, log_q = _log_softmax(one), _log_softmax(own)
        total += float((np.exp(log_p) * (log_p - log_q)).sum(dtype=np.float64))
    return total / max(1, len(base))


def _log_softmax(logits: Floats) -> Floats:
    shifted: Floats = logits - logits.max()
    return shifted - np.float32(np.log(np.exp(shifted).sum(dtype=np.float64)))

"""The graph's weights against the checkpoint's tensors: missing ones, lying shapes, unread ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError, FtllmError, GraphError
from ftllm_nb.graph.build import user_error
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.inputs import LOGITS
from ftllm_nb.graph.nearest import did_you_mean, numbers_present
from ftllm_nb.graph.references import DataReference, WeightReference
from ftllm_nb.graph.types import format_shape
from ftllm_nb.graph.unread_entries import is_own_architecture
from ftllm_nb.ops.base import Parameter

if TYPE_CHECKING:
    from ftllm_nb.graph.ir import Node
    from ftllm_nb.graph.weight_values import TensorHeader

_BUFFERS = re.compile(r"(^|\.)(inv_freq|position_ids|masked_bias)$|(^|\.)rotary(_pos)?_emb\.")
_MASK = re.compile(r"(^|\.)(attn|attention)\.bias$")
"""Tensors that checkpoints store but that are computed anew: rotary tables, and masks, which have four axes."""
_NORM = re.compile(r"norm[^.]*\.(weight|bias)$")
_NAMED_BY_GGUF = re.compile(r"blk\.\d+\.")
"""Tensors of a layer for which the reading of GGUF knows no other name."""
_IN_A_LAYER = re.compile(r".*?\.\d+\.")


def missing_weight(
    call: Call, parameter: Parameter, name: str, tensors: Mapping[str, TensorHeader]
) -> GraphError:
    """The error for a weight that the checkpoint lacks."""
    stem = name.rpartition(".")[0]
    is_alone = [each for each in tensors if each.startswith(f"{stem}.")] == [f"{stem}.weight"]
    hint = f": {parameter.if_lacking}." if parameter.if_lacking and is_alone else _hint(name, tensors)
    return call.error(f'reads weight "{name}" as "{parameter.name}", which the checkpoint lacks{hint}')


def _hint(name: str, tensors: Mapping[str, TensorHeader]) -> str:
    """What the checkpoint has in place of a tensor that it lacks."""
    numbers = numbers_present(name, tensors)
    if not numbers:
        return did_you_mean(name, tensors)
    held, layer = _runs(numbers), _layer(name)
    why = "config.json may ask for more layers than it holds"
    if layer is not None and any(each.startswith(layer) for each in tensors):
        why = "a file of the model may be missing, or config.json gives the kinds of another model's layers"
    where = "layer" if len(numbers) == 1 else "layers"
    return f": it has this weight in {where} {held} only; {why}."


def _runs(numbers: Sequence[int]) -> str:
    """Ascending numbers as people write them: 0 to 2, 5."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(str(one) if one == other else f"{one} to {other}" for one, other in zip(starts, ends, strict=True))


def unread_tensors(tensors: Mapping[str, TensorHeader], read: Container[str]) -> list[str]:
    """The checkpoint's tensors that no operator reads, but for those that are computed anew."""
    return sorted(name for name, header in tensors.items() if name not in read and not _is_buffer(name, header))


def _is_buffer(name: str, header: TensorHeader) -> bool:
    return bool(_BUFFERS.search(name) or (len(header.shape) == 4 and _MASK.search(name)))


def notes_on_biases(nodes: Iterable[Node], unread: Iterable[str]) -> list[str]:
    """A sentence for each line that reads a weight and leaves out a bias beside it, where the operator knows why."""
    left, notes = set(unread), dict[str, str]()
    for node in nodes:
        for name, value in node.inputs.items():
            hint = node.operator.parameter(name).if_bias if value.kind == "weight" else ""
            bias = f"{value.name.removesuffix('.weight')}.bias"
            if hint and bias in left:
                about = f"nothing reads {bias}, beside what {node.operator.name} reads at {node.call.where}"
                notes.setdefault(node.call.where, f"{about}: {hint}.")
    return list(notes.values())


def refuse_left_out(graph: ComputeGraph, unread: Iterable[str], read: Collection[str]) -> None:
    """Raise `CheckpointError` where an architecture of this package reads a weight and not its bias, or tensors of a
    layer and not its norm: the model is another one, and its answers would be wrong.
    """
    if not is_own_architecture(graph):
        return
    layers = {_layer(name) for name in read} - {None}
    for name in unread:
        if _NAMED_BY_GGUF.match(name):
            raise CheckpointError(
                f"the checkpoint holds {shown(name)}, for which the architecture "
                f"{shown(graph.config.get('model_type'))} has no use, so that its answers would be wrong: describe the "
                "model in a Python file and give it with --custom FILE."
            )
        is_bias = name.endswith(".bias") and f"{name.removesuffix('.bias')}.weight" in read
        if is_bias or (_NORM.search(name) and _layer(name) in layers):
            raise CheckpointError(
                f'the checkpoint holds "{name}", a {"bias" if is_bias else "norm"} that the architecture '
                f"{shown(graph.config.get('model_type'))} does not have, so that its answers would be wrong: describe "
                "the model in a Python file and give it with --custom FILE."
            )


def _layer(name: str) -> str | None:
    """What the names of a layer's tensors begin with, None for what is in none."""
    match = _IN_A_LAYER.match(name)
    return match.group() if match else None


def check_declared_shapes(graph: ComputeGraph, tensors: Mapping[str, TensorHeader]) -> list[str]:
    """Compare the checkpoint with the shapes that the config gives it, where the architecture declares them.

    Raises `CheckpointError` for a missing tensor and for a shape that contradicts the config. Returns notes
    on biases that are missing: they are taken as none.
    """
    try:
        declared = graph.weight_shapes()
    except FtllmError:
        raise
    except Exception as error:
        graph_class = type(graph)
        file = graph_class.weight_shapes.__code__.co_filename
        raise user_error(error, f"{graph_class.__name__}.weight_shapes()", file, graph.config) from error
    for name, expected in declared.items():
        if name in tensors and tuple(tensors[name].shape) != expected:
            found = tuple(tensors[name].shape)
            entries = _entries(graph, {*expected} - {*found} or {*expected})
            is_transposed = len(expected) == 2 and found == expected[::-1]
            why = "it is transposed, so write it with its axes exchanged"
            raise CheckpointError(
                f'tensor "{name}" has shape {format_shape(found)}, but config.json makes it '
                f"{format_shape(expected)}{entries}: "
                f"{why if is_transposed else 'one of the two belongs to another model'}."
            )
    tieable = _tieable(graph)
    missing = [name for name in declared if name not in tensors and name not in tieable]
    for name in missing:
        if not name.endswith(".bias"):
            raise CheckpointError(
                f'the checkpoint lacks the tensor "{name}" {format_shape(declared[name])}, which config.json '
                f"asks for{_hint(name, tensors)}"
            )
    if not missing:
        return []
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return [f'the checkpoint lacks the bias "{missing[0]}"{more}; they are taken as none.']


def _tieable(graph: ComputeGraph) -> set[str]:
    """The weights for which the embedding may stand: those of the operators that write the logits."""
    logits = DataReference(LOGITS)
    references = (
        call.arguments[parameter.name]
        for call in graph.calls
        if logits in call.arguments.values()
        for parameter in call.operator.parameters
        if parameter.may_be_embedding
    )
    return {reference.name for reference in references if isinstance(reference, WeightReference)}


def _entries(graph: ComputeGraph, sizes: set[int]) -> str:
    names = [
        f"{name} = {number}"
        for name, number in graph.config.items()
        if isinstance(number, int) and not isinstance(number, bool) and number > 1 and number in sizes
    ]
    return f" ({', '.join(names[:4])})" if names else ""

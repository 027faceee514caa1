"""A model as its architecture in GGUF takes it: from its checked graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.architectures import writing_architectures
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel
from ftllm_nb.engine.weight_types import steering_weights
from ftllm_nb.errors import CheckpointError
from ftllm_nb.graph.inputs import find_max_positions
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.weight_steps import Transposed

_TEXT_PARTS = ("model.language_model.", "language_model.model.")
"""What the names of a text part's tensors begin with in place of "model."."""
_HEADS = {"language_model.lm_head": "lm_head"}
_BEGINNINGS = ("", "model.", "transformer.", "gpt_neox.")
"""What folders leave out before the names of tensors."""


@dataclass(frozen=True)
class WeightSource:
    """The checkpoint's tensor that a weight is; `turned`: its axes are the other way."""

    tensor: str
    turned: bool


@dataclass(frozen=True)
class Outgoing:
    """`name`: general.architecture; `sources`: of the model's tensors, by the names of `model.shapes`; `matrices`:
    those that products or look-ups of tokens read; `steering`: of them those by which experts are chosen or states
    change."""

    name: str
    architecture: type[Architecture]
    model: OutgoingModel
    sources: dict[str, WeightSource]
    matrices: set[str]
    steering: set[str]


def written_as(path: object, graph: CheckedGraph) -> tuple[str, type[Architecture]]:
    """What files call a model's architecture, and what writing asks for. Raises `CheckpointError` for one that GGUF
    has no form for here."""
    model_type, known = graph.config.get("model_type"), writing_architectures()
    if model_type not in known:
        raise CheckpointError(
            f"no GGUF file can be written of {path}, whose model_type is {model_type}: files are written of "
            f"{', '.join(sorted(known))}."
        )
    name, architecture = known[model_type]
    form = cast("type[Architecture]", architecture.of_model(graph.config))
    return form.file_architecture or name, form


def outgoing(checkpoint: Checkpoint, graph: CheckedGraph) -> Outgoing:
    """The model of a graph. Raises `CheckpointError` for one that GGUF has no form for here."""
    path = checkpoint.path
    name, architecture = written_as(path, graph)
    sources: dict[str, WeightSource] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    names: dict[Value, str] = {}
    for value in dict.fromkeys(graph.weights.values()):
        is_turned = is_transposed(value)
        names[value] = own = _model_name(architecture, value.tensor)
        if sources.setdefault(own, WeightSource(value.tensor, is_turned)).turned != is_turned:
            raise CheckpointError(
                f"no GGUF file can be written of {path}: its graph reads {value.tensor} in two ways."
            )
        shape = checkpoint.tensors[value.tensor].shape
        shapes[own] = shape[::-1] if is_turned else shape
    matrices = {names[value] for value in _matrices(graph)}
    if architecture.writes_unread:
        for tensor in checkpoint.tensors.keys() - {value.tensor for value in names}:
            own = _model_name(architecture, tensor)
            if architecture.file_name(own) != own:
                sources[own], shapes[own] = WeightSource(tensor, False), checkpoint.tensors[tensor].shape
                matrices |= {own} if len(shapes[own]) > 1 else set()
    model = OutgoingModel(
        name=name,
        config={**graph.config, "max_position_embeddings": find_max_positions(graph.config)},
        eps=_eps(graph),
        heads=int(graph.config["num_attention_heads"]),
        kv_heads=max((cache.heads for cache in graph.caches.values()), default=1),
        head_dim=int(graph.config["head_dim"]),
        turning={kind: settings.dim for kind, settings in graph.rope.items()},
        bases={kind: settings.base for kind, settings in graph.rope.items()},
        shapes=shapes,
        routing=next((node.attributes for node in graph.nodes if "routeScale" in node.attributes), {}),
    )
    steering = {names[value] for value in steering_weights(graph) if value in names}
    return Outgoing(name, architecture, model, sources, matrices, steering)


def _model_name(architecture: type[Architecture], tensor: str) -> str:
    """What the model calls a tensor of the checkpoint, which may be that of a text part, or lack its beginning."""
    for part in _TEXT_PARTS:
        if tensor.startswith(part):
            return f"model.{tensor.removeprefix(part)}"
    for head, plain in _HEADS.items():
        tensor = tensor.replace(head, plain) if tensor.startswith(head) else tensor
    known = (beginning + tensor for beginning in _BEGINNINGS)
    return next((name for name in known if architecture.file_name(name) != name), tensor)


def _eps(graph: CheckedGraph) -> float:
    found: list[Any] = [node.attributes["eps"] for node in graph.nodes if "eps" in node.attributes]
    return float(found[0]) if found else 1e-5


def is_transposed(value: Value) -> bool:
    """Whether a graph does nothing with a matrix of the checkpoint but to read it the other way."""
    return value.type.rank == 2 and value.computed is not None and value.computed.steps == (Transposed(),)


def _matrices(graph: CheckedGraph) -> set[Value]:
    """What may be quantized: matrices and stacks of them that products or look-ups of tokens read, but no table of
    positions."""
    return {
        value
        for node in graph.nodes
        for name, value in node.inputs.items()
        if value.kind == "weight"
        and value.type.rank > 1
        and (name in node.products or (node.operator.parameter(name).embeds and _reads_tokens(node)))
    }


def _reads_tokens(node: Node) -> bool:
    return any(value.name == "inputIds" for value in node.inputs.values())

"""Which tensor of a model becomes what: from --dtype, --dtype_config and what the model's operators do with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ftllm_nb.checkpoint import Checkpoint, TensorInfo
from ftllm_nb.engine.weight_types import Rule, embedding_weights, steering_weights
from ftllm_nb.errors import CheckpointError, UsageError
from ftllm_nb.graph.ir import CheckedGraph, Value
from ftllm_nb.graph.weight_steps import Transposed
from ftllm_nb.quant import quantized_types
from ftllm_nb.quant.blocks import fitting_type
from ftllm_nb.quantization.folder_form import FolderForm
from ftllm_nb.quantization.tensors import PlannedTensor
from ftllm_nb.quantized_type import COLUMNS_MULTIPLE, BlockedType, is_quantized

_FLOAT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
AUTO = "auto"
"""The type that a tensor is stored in: what a rule names for a matrix that is to stay as it is."""


def plan_tensors(
    checkpoint: Checkpoint,
    graph: CheckedGraph,
    dtype: str,
    rules: Sequence[Rule],
    format: FolderForm,
    *,
    symmetric: bool = True,
    turns: bool = False,
) -> list[PlannedTensor]:
    """Every tensor of the checkpoint, in its order.

    Matrices that only products read are quantized, but for those from which the graph computes other weights, and those
    by which experts are chosen or states change. The one that makes logits and embeddings become what the form of
    folder says, or what a rule says of them; embeddings stay as they are in forms that other programs load. Where
    groups do not divide the columns, the largest smaller groups do that divide them, or whole rows; where blocks do
    not, the type that `--dtype` takes in their place. With `turns`, matrices of products that the graph only transposes
    are written the way that products read them.
    Raises `UsageError` where a type is none, or nothing is quantized.
    """
    if dtype not in format.types():
        raise UsageError(f"{dtype!r} is no type of quantized weights: use {', '.join(format.types())}.")
    computed_with = {value.tensor for value in graph.weights.values() if value.computed is not None}
    read, packed = ({value.tensor for value in values} for values in (graph.weights.values(), graph.packed))
    matrices = _product_weights(graph)
    turned = _turned(graph, matrices) if turns else set()
    computed_with -= turned
    products = {value.name for value in matrices} | turned
    linear = products - computed_with
    tables = {value.name for value in embedding_weights(graph)} - computed_with
    table_dtype = format.table_dtype(dtype)
    steering = {value.tensor: does for value, does in steering_weights(graph).items()}
    planned = []
    for info in checkpoint.tensors.values():
        chosen = table_dtype if info.name in tables else AUTO if info.name in steering else dtype
        for rule in rules:
            if rule.pattern.search(info.name):
                chosen = rule.dtype
        can_be = info.name in linear or (table_dtype != AUTO and info.name in tables)
        if info.name in turned:
            info = replace(info, shape=info.shape[::-1])
        passed_over = len(info.shape) == 2 and (info.name not in read or info.name in computed_with)
        tensor = _planned(info, chosen, info.name in products or passed_over, can_be, format, symmetric)
        tensor = replace(tensor, turned=info.name in turned)
        if info.name in computed_with & packed:
            tensor = replace(tensor, note="the graph computes weights from it")
        if info.name in steering and not tensor.is_rounded:
            tensor = replace(tensor, note=steering[info.name])
        planned.append(tensor)
    if not any(tensor.is_rounded for tensor in planned):
        if computed_with:
            raise UsageError(
                "nothing is left to quantize: the model's graph computes weights from its matrices, which needs "
                "floats; --dtype of chat and server quantizes while they load."
            )
        raise UsageError("nothing is left to quantize: the model has no matrix that these types are for.")
    return planned


def plan_kept(checkpoint: Checkpoint, graph: CheckedGraph) -> list[PlannedTensor]:
    """Every tensor of a quantized model, in its order: matrices that are quantized keep their types, others are copied.
    Raises `UsageError` where none is quantized, and for matrices that no packed folder holds."""
    planned = [_kept(checkpoint, info) for info in checkpoint.tensors.values()]
    if not any(tensor.kept for tensor in planned):
        raise UsageError(f"{checkpoint.path} has no quantized matrix that could be kept: name a type with --dtype.")
    return planned


def _kept(checkpoint: Checkpoint, info: TensorInfo) -> PlannedTensor:
    kept = info.dtype if is_quantized(info.dtype) else None
    if kept is not None and len(info.shape) != 2 and checkpoint.tokenizer_metadata is None:
        raise UsageError(
            f"{info.name} is a stack of matrices, which packed folders hold of GGUF files alone: use the model itself."
        )
    if checkpoint.column_order(info.name) is not None:
        raise UsageError(
            f"the columns of {info.name} are ordered by their activations (desc_act or actorder), which packed "
            "folders do not hold: use the model as it is."
        )
    size = math.prod(info.shape) * _FLOAT_BYTES[str(info.dtype)] if info.dtype in _FLOAT_BYTES else info.nbytes
    return PlannedTensor(info.name, info.shape, str(info.dtype), size, False, None, kept=kept)


def refuse_quantized(checkpoint: Checkpoint) -> None:
    """Raise `CheckpointError` for a model that is quantized already, since rounding twice loses more than once."""
    method = checkpoint.config.get("quantization_config")
    if method is not None:
        kind = method.get("quant_method") if isinstance(method, dict) else None
        raise CheckpointError(
            f"{checkpoint.path} is quantized already{f' ({kind})' if isinstance(kind, str) else ''}: name the float "
            "model that it was made from."
        )


def _product_weights(graph: CheckedGraph) -> set[Value]:
    """The matrices that products are made with, and nothing else reads."""
    read_by: dict[Value, set[bool]] = {}
    for node in graph.nodes:
        for parameter, value in node.inputs.items():
            if value.kind == "weight":
                read_by.setdefault(value, set()).add(parameter in node.products and value.type.rank == 2)
    return {value for value, kinds in read_by.items() if kinds == {True}}


def _turned(graph: CheckedGraph, products: set[Value]) -> set[str]:
    """The tensors that serve for nothing but products with them transposed."""
    uses: dict[str, list[Value]] = {}
    for value in graph.weights.values():
        uses.setdefault(value.tensor, []).append(value)
    return {
        name
        for name, (value, *others) in uses.items()
        if not others and value in products and value.computed is not None and value.computed.steps == (Transposed(),)
    }


def _planned(
    info: TensorInfo, dtype: str, is_linear: bool, can_be: bool, format: FolderForm, symmetric: bool
) -> PlannedTensor:
    """`can_be`: whether the tensor can be quantized."""
    scheme, note = None, ""
    if can_be and dtype not in (AUTO, info.dtype):
        if dtype not in format.types():
            raise UsageError(
                f'the dtype_config makes "{info.name}" {dtype}, but floats stay {info.dtype}, as they are stored: ask '
                f"for {AUTO} or one of {', '.join(format.types())}."
            )
        columns = info.shape[1]
        fitting = fitting_type(dtype, columns)
        if fitting != dtype:
            note = f"{columns} columns are no multiple of the blocks of {dtype}"
        wanted = format.types()[fitting]
        if isinstance(wanted, BlockedType):
            return PlannedTensor(
                info.name, info.shape, str(info.dtype), info.nbytes, is_linear, None, note, blocks=wanted
            )
        group = _fitting_group(wanted.group, columns)
        if group != wanted.group:
            note = note or f"{columns} columns are no multiple of {wanted.group}"
        if info.name.endswith(".weight"):
            scheme = format.scheme(wanted.bits, group, symmetric)
            if columns % COLUMNS_MULTIPLE:  # what fills a row up would become numbers that are not stored
                scheme = replace(scheme, spread=False)
        else:
            note = "a quantized tensor's name must end in .weight"
    return PlannedTensor(info.name, info.shape, str(info.dtype), info.nbytes, is_linear, scheme, note)


def _fitting_group(group: int, columns: int) -> int:
    """The largest size of groups up to `group` that divides the columns; 0, the whole row, where none does."""
    known = {type.group for type in quantized_types().values()}
    return max((size for size in known if 0 < size <= group and columns % size == 0), default=0)

"""Which format each matrix of a model gets: from --dtype, --embedding_dtype, --dtype_config and --atype."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import CheckedGraph, FormatOf, Value
from ftllm_nb.graph.types import FLOAT_TYPES
from ftllm_nb.ops.base import Parameter
from ftllm_nb.quant import quantized_types, weight_formats, weight_types
from ftllm_nb.quant.base import WeightFormat, weight_format
from ftllm_nb.quant.blocks import BlockFormat, RoundedBlocks
from ftllm_nb.quant.floats import FloatFormat
from ftllm_nb.quant.integers import IntegerFormat
from ftllm_nb.quant.scaled import ScaledFormat
from ftllm_nb.quant.stored import StoredFormat
from ftllm_nb.quantized_type import BlockedType, QuantizedType, ScaledType, is_quantized

EMBEDDING_DEFAULT = "int8g128"
"""For 4-bit models: errors in logits show at once, and a table's rows are read one a token."""


@dataclass(frozen=True)
class Rule:
    """Matrices in whose names `pattern` is found get the format `dtype`; `text` is how the user wrote it."""

    pattern: re.Pattern[str]
    dtype: str
    text: str


@dataclass(frozen=True)
class WeightTypes:
    """`dtype`: of all matrices, "auto" is the checkpoint's own. `embedding_dtype`: of the embedding and of the matrix
    that makes logits; "auto" is `dtype`, but 8 bits where that has 4. `rules`: exceptions, later ones win. `atype`
    "bfloat16": products may round the activations that they read to bfloat16.

    Matrices that the checkpoint holds as whole numbers stay as they are, whatever is chosen; those in ggml's block
    types, and those of codes that are floats, do where nothing is.
    """

    dtype: str = "auto"
    embedding_dtype: str = "auto"
    rules: tuple[Rule, ...] = ()
    atype: str = "auto"

    def __post_init__(self) -> None:
        for name in (self.dtype, self.embedding_dtype):
            if name != "auto":
                weight_format(name)

    def formats(self, graph: CheckedGraph) -> FormatOf:
        """The format of each matrix of a graph."""
        embeddings = embedding_weights(graph)
        floats = weights_where(graph, lambda parameter: parameter.stays_float) | steering_weights(graph).keys()
        by_expert = weights_where(graph, lambda parameter: parameter.by_expert)

        def format_of(weight: Value) -> WeightFormat:
            chosen = self._chosen(weight, weight in embeddings)
            if weight not in floats:
                format = self._format(weight, chosen)
                return format.for_rows() if weight in by_expert else format
            stored = weight.type.dtype if weight.type.dtype in FLOAT_TYPES else "float32"
            return FloatFormat(chosen if chosen in FLOAT_TYPES else str(stored))

        return format_of

    def _chosen(self, weight: Value, is_embedding: bool) -> str:
        """The type that is chosen for a matrix."""
        chosen = self.dtype
        if is_embedding and self.embedding_dtype != "auto":
            chosen = self.embedding_dtype
        elif is_embedding:
            chosen = embedding_type(chosen)
        for rule in self.rules:
            if rule.pattern.search(weight.tensor):
                chosen = rule.dtype
        return chosen

    def _format(self, weight: Value, chosen: str) -> WeightFormat:
        stored = weight.type.dtype
        if isinstance(stored, QuantizedType):
            return StoredFormat(stored)
        if isinstance(stored, ScaledType):
            if chosen == "auto":
                return ScaledFormat(stored)
            stored = "float32"
        if isinstance(stored, BlockedType):
            if chosen == "auto" and BlockFormat.has(stored.name):
                return BlockFormat(stored.name)
            stored = BlockFormat.float_type(stored.name)
        format = weight_format(stored if chosen == "auto" else chosen)
        if isinstance(format, RoundedBlocks):
            format = weight_format(format.fitting(weight.type.size(-1)))
        if isinstance(format, IntegerFormat):
            format = format.fitting(weight.type.size(-1))
        return format.rounding_activations() if self.atype == "bfloat16" else format

    def kept_quantized(self, weights: Iterable[Value]) -> list[str]:
        """A sentence where types are chosen that matrices which are quantized already do not get; [] elsewhere."""
        stored = [weight for weight in weights if isinstance(weight.type.dtype, QuantizedType)]
        if not stored or (self.dtype == self.embedding_dtype == "auto" and not self.rules):
            return []
        return [
            f"{len(stored)} matrices of the model are quantized already and stay so "
            f"({'; '.join(stored_types(stored))}): the chosen weight types are for the others."
        ]

    def padded_groups(self, graph: CheckedGraph) -> list[str]:
        """A sentence for each format whose groups do not divide columns, and are filled up to more than finer ones, or
        give way to another format."""
        format_of = self.formats(graph)
        shapes: dict[QuantizedType, list[tuple[int, int, int]]] = {}
        for weight in graph.packed:
            format = format_of(weight)
            if isinstance(format, IntegerFormat) and format.type.group and weight.type.size(-1) % format.type.group:
                shapes.setdefault(format.type, []).append(weight.type.matrices)
        sentences = self._other_blocks(graph)
        for type, matrices in shapes.items():
            sizes = {
                other.name: sum(
                    count * IntegerFormat(other).packed_bytes(rows, columns) for count, rows, columns in matrices
                )
                for other in quantized_types().values()
                if other.bits == type.bits and 0 < other.group <= type.group
            }
            best = min(sizes, key=sizes.__getitem__)
            if sizes[best] < sizes[type.name]:
                columns = " and ".join(map(str, sorted({columns for *_, columns in matrices})))
                flag = "--dtype" if type.name == self.dtype else "--embedding_dtype, or a rule of --dtype_config"
                sentences.append(
                    f"groups of {type.group} do not divide {columns} columns and are filled up: {type.name} takes "
                    f"{shown_bytes(sizes[type.name])} for those matrices, {best} takes {shown_bytes(sizes[best])} "
                    f"and rounds less ({flag})."
                )
        return sentences

    def _other_blocks(self, graph: CheckedGraph) -> list[str]:
        """A sentence for each block type that does not divide columns."""
        embeddings, columns_of = embedding_weights(graph), dict[tuple[str, str], set[int]]()
        for weight in graph.packed:
            chosen, columns = self._chosen(weight, weight in embeddings), weight.type.size(-1)
            if chosen == "auto" or isinstance(weight.type.dtype, QuantizedType):
                continue
            format = weight_format(chosen)
            if isinstance(format, RoundedBlocks) and format.fitting(columns) != chosen:
                columns_of.setdefault((chosen, format.fitting(columns)), set()).add(columns)
        return [
            f"blocks of {chosen} do not divide {' and '.join(map(str, sorted(columns)))} columns: those matrices are "
            f"{other}."
            for (chosen, other), columns in columns_of.items()
        ]

    def unused_rules(self, names: Iterable[str]) -> list[str]:
        """The rules that match none of the names, as the user wrote them."""
        names = list(names)
        return [rule.text for rule in self.rules if not any(rule.pattern.search(name) for name in names)]


AS_STORED = WeightTypes()
"""Every matrix in the checkpoint's own type."""


def embedding_weights(graph: CheckedGraph) -> set[Value]:
    """Tables that tokens are looked up in, and the matrix that makes logits."""
    return {
        value
        for node in graph.nodes
        for name, value in node.inputs.items()
        if (node.operator.parameter(name).embeds and value.type.rank > 1)
        or (graph.logits in node.outputs.values() and name in node.products)
    }


def weights_where(graph: CheckedGraph, says: Callable[[Parameter], bool]) -> set[Value]:
    """The weights of whose parameter something is said."""
    return {
        value
        for node in graph.nodes
        for name, value in node.inputs.items()
        if value.kind == "weight" and says(node.operator.parameter(name))
    }


def steering_weights(graph: CheckedGraph) -> dict[Value, str]:
    """The matrices of whose products it is chosen by which other weights a token is multiplied, since a rounded one
    would choose others, or how fast a state decays, since an error there stays. What lies between is of the products'
    size: who chooses by what flows from layer to layer means no matrix; but a matrix may be stored as two factors. Each
    with what it does, for people."""
    found: dict[Value, str] = {}
    read = [(node.operator.parameter(name), value) for node in graph.nodes for name, value in node.inputs.items()]
    waiting = [(value, "experts are chosen by it") for parameter, value in read if parameter.chooses]
    waiting += [(value, "states change by it") for parameter, value in read if parameter.decays]
    while waiting:
        value, does = waiting.pop()
        maker = value.producer
        if maker is None:
            continue
        if maker.products:
            found.update((maker.inputs[name], does) for name in maker.products)
            waiting += [(each, does) for each in maker.inputs.values() if each.producer and each.producer.products]
        else:
            waiting += [(each, does) for each in maker.inputs.values() if _size(each) == _size(value)]
    return found


def _size(value: Value) -> tuple[object, ...]:
    """Of data the tokens, and the numbers of each, however they are grouped."""
    shape = value.type.shape
    return (*shape[:2], math.prod(map(value.type.size, range(2, len(shape)))))


def embedding_type(dtype: str) -> str:
    """The type of embeddings where other matrices have this one, and nothing else is said of them."""
    chosen = weight_types().get(dtype)
    if isinstance(chosen, QuantizedType):
        return EMBEDDING_DEFAULT if chosen.bits == 4 else dtype
    return EMBEDDING_DEFAULT if isinstance(chosen, BlockedType) else dtype


def stored_types(weights: Iterable[Value]) -> list[str]:
    """The types of matrices in their files, as people read them, most frequent first."""
    counts = Counter(weight.type.dtype for weight in weights)
    return [
        dtype.description if is_quantized(dtype) else str(dtype) for dtype, _ in counts.most_common()
    ]


def main_format(matrices: Iterable[Value], format_of: FormatOf) -> str:
    """The name of the format that most of the matrices' numbers have."""
    numbers: Counter[str] = Counter()
    for matrix in matrices:
        numbers[format_of(matrix).name] += math.prod(matrix.type.matrices)
    return numbers.most_common(1)[0][0] if numbers else "float32"


def read_rules(path: str | PathLike[str], known: Sequence[str] | None = None) -> tuple[Rule, ...]:
    """The rules of a --dtype_config file: a JSON list of {"key": regular expression, "dtype": format}.

    `known`: what a type may be beside auto; the types of --dtype while a model loads where nothing is given. Raises
    `UsageError` where the file is not that.
    """
    try:
        rules = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except TypeError:
        raise UsageError(f"dtype_config must be the path of a file, not {path!r}.") from None
    except OSError as error:
        raise UsageError(f"the dtype_config {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the dtype_config {path} is no JSON: {error}.") from None
    if not isinstance(rules, list):
        raise UsageError(f'the dtype_config {path} must be a list of {{"key": …, "dtype": …}}, not {_kind(rules)}.')
    types = ["auto", *(weight_formats() if known is None else known)]
    return tuple(
        _read_rule(rule, f"rule {number} of the dtype_config {path}", types) for number, rule in enumerate(rules, 1)
    )


def _read_rule(rule: Any, where: str, known: Sequence[str]) -> Rule:
    if not isinstance(rule, dict) or not all(isinstance(rule.get(name), str) for name in ("key", "dtype")):
        raise UsageError(f'{where} must be {{"key": a regular expression, "dtype": a weight type}}.')
    if rule["dtype"] not in known:
        raise UsageError(f'{where} asks for "{rule["dtype"]}", which is no weight type: use {", ".join(known)}.')
    try:
        pattern = re.compile(rule["key"])
    except (re.error, RecursionError) as error:
        raise UsageError(f'{where} has the key "{rule["key"]}", which is no regular expression: {error}.') from None
    return Rule(pattern, rule["dtype"], f'{{"key": "{rule["key"]}", "dtype": "{rule["dtype"]}"}}')


def _kind(value: Any) -> str:
    return {dict: "an object", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")

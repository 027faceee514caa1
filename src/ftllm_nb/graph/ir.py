"""A checked graph: every value is written once, has a type, and knows the node that makes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import WeightReference
from ftllm_nb.graph.rope import RopeSettings
from ftllm_nb.graph.types import Symbol, TensorType
from ftllm_nb.graph.users_operator import compute_guarded
from ftllm_nb.ops.base import Array, Operator, StepContext, Work
from ftllm_nb.ops.reach import Reach
from ftllm_nb.quant.activations import ActivationForm
from ftllm_nb.quant.base import WeightFormat

STATE = "state"
"""The kind of what an operator keeps of a sequence: [sequences, …]."""


@dataclass(eq=False)
class Value:
    """A tensor. `kind`: "input" (given with each step, or a cache), "state", "weight" or "data".

    `name` is the user's; a name that is written twice belongs to two values. A weight that is computed from a tensor
    has the text of that as its name, and `computed` says how.
    """

    name: str
    type: TensorType
    kind: str
    producer: Node | None = None
    computed: WeightReference | None = None

    @property
    def tensor(self) -> str:
        """Of a weight: the name of the checkpoint's tensor that it is, or is computed from."""
        return self.name if self.computed is None else self.computed.name

    def __repr__(self) -> str:
        return f'{self.kind} "{self.name}" {self.type}'


def rows_symbol(value: Value) -> Symbol | None:
    """What the rows of an activation count, TOKENS or ROWS; None for all else, also for data of other axes."""
    shape = value.type.shape
    if value.kind == "data" and len(shape) >= 2 and shape[0] == 1 and shape[1] in (Symbol.TOKENS, Symbol.ROWS):
        return shape[1] if isinstance(shape[1], Symbol) else None
    return None


FormatOf = Callable[[Value], WeightFormat]
"""The format that a matrix of the checkpoint is to have in memory."""


@dataclass(eq=False)
class Node:
    """One operator at work. `inputs` and `outputs` are by parameter; an optional weight may be missing.
    `forms`: of outputs that are not written as float32.

    In place operators read the old value and write a new one.
    """

    operator: type[Operator]
    inputs: dict[str, Value]
    outputs: dict[str, Value]
    attributes: dict[str, Any]
    call: Call
    forms: dict[str, ActivationForm] = field(default_factory=dict)

    @property
    def products(self) -> dict[str, str]:
        """The weights that are matrices of products, by parameter: whose rows they multiply (ops/base.py)."""
        given = {name: self.operator.parameter(name).multiplies for name in self.inputs}
        return {name: rows for name, rows in given.items() if rows is not None}

    @property
    def is_on_host(self) -> bool:
        """Whether its NumPy reference runs between two walks: it has no kernel, or reads or writes data that has no row
        for each token, as what is made of a weight alone."""
        values = (*self.inputs.values(), *self.outputs.values())
        return self.operator.lower is None or any(each.kind == "data" and rows_symbol(each) is None for each in values)

    @property
    def packed(self) -> tuple[Value, ...]:
        """The weights that a kernel reads in a format of quant/, not as float32."""
        if self.is_on_host:
            return ()
        products = self.products
        return tuple(
            value
            for name, value in self.inputs.items()
            if value.type.rank > 1 and (name in products or self.operator.parameter(name).embeds)
        )

    @property
    def work(self) -> Work:
        """What the operator does for a token."""
        return self.operator.work({**{name: value.type for name, value in self.inputs.items()}, **self.attributes})

    def evaluate(self, step: StepContext, inputs: dict[str, Any]) -> dict[str, Array]:
        """What the NumPy reference computes, by output parameter.

        `inputs`: by parameter, an array for each tensor and a list with one `SequenceCache` for each sequence
        for each cache, or one array for each state. This is how host steps and the reference executor run an operator.
        """
        names = {parameter: value.name for parameter, value in self.inputs.items()}
        here = dataclasses.replace(step, names=names, where=self.call.where)
        missing = {
            parameter.name: None
            for parameter in self.operator.parameters
            if parameter.is_read and not parameter.is_many and parameter.name not in inputs
        }
        arguments = {**missing, **inputs, **self.attributes}
        try:
            if not self.call.is_users_own:
                return self.operator.compute(here, arguments)
            types = {name: value.type for name, value in (*self.inputs.items(), *self.outputs.items())}
            return compute_guarded(self.operator, here, arguments, types)
        except Exception as error:
            sentence = self.call.failure("reference", error)
            if sentence is None:
                raise
            raise sentence from error

    def __repr__(self) -> str:
        return f"{self.operator.name} (operator {self.call.index})"


@dataclass(frozen=True)
class LayerCache:
    """The KV cache of one layer: keys [cached, heads, dim] and values [cached, heads, v dim].

    One node stores into it; later ones may read it, too. `reach`: how far back they do. `value` None: values are parts
    of keys.
    """

    layer: int
    key: Value
    value: Value | None
    reach: Reach

    @property
    def stored(self) -> tuple[Value, ...]:
        """Keys, and values where they are stored."""
        return (self.key,) if self.value is None else (self.key, self.value)

    @property
    def heads(self) -> int:
        """Heads of keys and of values."""
        return self.key.type.size(1)

    @property
    def key_dim(self) -> int:
        """Size of a key."""
        return self.key.type.size(2)

    @property
    def value_dim(self) -> int:
        """Size of a stored value; 0 where none is."""
        return 0 if self.value is None else self.value.type.size(2)


@dataclass(eq=False)
class CheckedGraph:
    """A graph in which names, shapes and types fit each other, the config and the checkpoint.

    `inputs` and `weights` hold what nodes read, by name; tied embeddings are one value. `caches` are by
    layer, `rope` the tables that are read, by name. `vocab_size`: token ids are below it, and as many logits come out.
    `unread_tensors`: those of the checkpoint that no operator reads. `notes`: sentences worth saying once.
    """

    nodes: list[Node]
    inputs: dict[str, Value]
    weights: dict[str, Value]
    caches: dict[int, LayerCache]
    logits: Value
    vocab_size: int
    max_positions: int
    rope: dict[str, RopeSettings]
    config: dict[str, Any]
    tokenizer_config: dict[str, Any] = field(default_factory=dict)
    generation_config: dict[str, Any] = field(default_factory=dict)
    unread_tensors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of what operators keep of a sequence beside the caches, by name."""
        states = [value for value in self.inputs.values() if value.kind == STATE]
        return {value.name: tuple(value.type.size(axis) for axis in range(1, value.type.rank)) for value in states}

    @property
    def states_of_halves(self) -> set[str]:
        """The states that may be kept as float16, by name."""
        return {
            value.name
            for node in self.nodes
            for name, value in node.inputs.items()
            if value.kind == STATE and node.operator.parameter(name).may_be_half and not node.call.is_users_own
        }

    @property
    def packed(self) -> list[Value]:
        """The weights that kernels read in a format of quant/, each once; all others are float32 in memory."""
        return list(dict.fromkeys(value for node in self.nodes for value in node.packed))

"""ComputeGraph: what a user's file derives from. Its build() runs once and is recorded."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection
from typing import Any, ClassVar

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.json_text import CONFIGS, json_text
from ftllm_nb.graph.nearest import nearest_names
from ftllm_nb.graph.operators import Operators, recording_method
from ftllm_nb.graph.read_config import ReadConfig
from ftllm_nb.graph.references import DataReference, WeightReference
from ftllm_nb.graph.source import caller_location
from ftllm_nb.ops.base import Operator


class ComputeGraph(Operators):
    """A model's computation, as build() describes it by calling the operators.

    `config`, `tokenizer_config`, `generation_config`: the folder's files, copied; build() may change them.
    `weight[…]` and `data[…]`: tensors by name; indexing again appends to the name. `calls`: what was
    recorded. `notes`: sentences that build() wants users to read once. `operators`: a class may list operators
    of its own here, subclasses of `ftllm_nb.ops.base.Operator`; they become methods like the others and run as
    their NumPy reference says.

    `checkpoint_names`: what the checkpoint's tensors are called; empty where there is no checkpoint. `passed_over`:
    those of them that build() leaves out on purpose.
    """

    operators: ClassVar[tuple[type[Operator], ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = vars(cls).get("operators", ())
        are_operators = isinstance(own, (tuple, list)) and all(
            inspect.isclass(each) and issubclass(each, Operator) for each in own
        )
        if not are_operators:
            raise GraphError(
                f"{cls.__name__}.operators must be a tuple of subclasses of Operator, as (Gate,), not {own!r}.",
                *caller_location(),
            )
        for operator in own:
            _check_products(operator)
            setattr(cls, operator.name, recording_method(operator))

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        tokenizer_config: dict[str, Any] | None = None,
        generation_config: dict[str, Any] | None = None,
    ) -> None:
        self.config: dict[str, Any] = ReadConfig(copy.deepcopy(config or {}))
        self.tokenizer_config = copy.deepcopy(tokenizer_config or {})
        self.generation_config = copy.deepcopy(generation_config or {})
        self.weight = WeightReference()
        self.data = DataReference()
        self.calls: list[Call] = []
        self.notes: list[str] = []
        self.checkpoint_names: Collection[str] = ()
        self.passed_over: set[str] = set()

    def build(self) -> None:
        """Describe the model: call the operators in order, the last of them writing `data["logits"]`."""
        methods = {name: value.__code__ for name, value in vars(type(self)).items() if inspect.isfunction(value)}
        problem = f"the class {type(self).__name__} has no build(self)"
        for name in nearest_names("build", methods, count=1):
            code = methods[name]
            raise GraphError(f'{problem}: is "{name}" meant to be it?', code.co_filename, code.co_firstlineno)
        raise GraphError(f"{problem}.")

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors that a checkpoint of this config holds, name to shape; {} where a class does not say.

        Where it does, a checkpoint that contradicts its config.json is refused with a sentence, and random
        weights can be made from the config alone.
        """
        return {}

    def __str__(self) -> str:
        """The graph as fastllm's JSON; raises `GraphError` where a config holds what JSON cannot express."""
        return json_text(self.calls, {name: getattr(self, name) for name in CONFIGS})


def _check_products(operator: type[Operator]) -> None:
    """Raise `GraphError` for a weight that is to multiply what the operator has no parameter for."""
    names = [parameter.name for parameter in operator.parameters]
    for parameter in operator.parameters:
        if parameter.multiplies and parameter.multiplies not in names:
            raise GraphError(
                f'{operator.name} has a weight "{parameter.name}" that multiplies "{parameter.multiplies}", which is '
                f'none of its parameters: name one of {", ".join(names)}, or "" for what it makes itself.',
                *caller_location(),
            )

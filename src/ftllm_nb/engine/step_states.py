"""What the operators of a step make of the states of its sequences. A step that fails or is stopped leaves them as they
were."""

from __future__ import annotations

from typing import Any

from ftllm_nb.engine.kv_cache import CachedSequence
from ftllm_nb.engine.saved_states import States
from ftllm_nb.graph.ir import STATE, Node


def new_states(sequence: CachedSequence) -> States:
    """Copies that a step may change."""
    return {name: array.copy() for name, array in sequence.states.items()}


def keep_states(node: Node, arguments: dict[str, Any], states: list[States]) -> None:
    """Take over what a reference left in the lists that it was given: changed arrays, or others in their place."""
    for parameter, value in node.inputs.items():
        if value.kind == STATE:
            for its_states, array in zip(states, arguments[parameter], strict=True):
                its_states[value.name] = array

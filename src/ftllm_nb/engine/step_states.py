"""What the operators of a step make of the states of its sequences. A step that fails or is stopped leaves them as they
were."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.kv_cache import KVCache
from ftllm_nb.engine.state_memory import StateSlot
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import STATE, CheckedGraph, Node


def halved_states(graph: CheckedGraph, state_dtype: str) -> set[str]:
    """The states that are float16, by name, where this is the type of states. Raises `UsageError` for no such type."""
    if state_dtype not in ("float32", "float16"):
        raise UsageError(f'"{state_dtype}" is no type of states: use float32 or float16')
    return graph.states_of_halves if state_dtype == "float16" else set()


def new_states(cache: KVCache, steps: Sequence[SequenceStep], copied: Collection[str]) -> list[dict[int, StateSlot]]:
    """States for a step to write, as `KeptStates.to_write` has them. Those after the step of these names begin as
    copies, the others hold anything."""
    states = cache.states.to_write([(step.sequence, len(step.token_ids)) for step in steps])
    for step, slots in zip(steps, states, strict=True):
        for name in copied:
            last_states(slots)[name][...] = step.sequence.states[name]
    return states


def last_states(slots: dict[int, StateSlot]) -> StateSlot:
    """Those after the step."""
    return slots[max(slots)]


def keep_states(node: Node, arguments: dict[str, Any], states: Sequence[dict[str, NDArray[np.floating[Any]]]]) -> None:
    """Take over what a reference left in the lists that it was given: changed arrays, or others in their place."""
    for parameter, value in node.inputs.items():
        if value.kind == STATE:
            for slot, array in zip(states, arguments[parameter], strict=True):
                if array is not slot[value.name]:
                    slot[value.name][...] = array

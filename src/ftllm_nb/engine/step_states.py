"""What the operators of a step make of the states of its sequences. A step that fails or is stopped leaves them as they
were."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.kv_cache import CachedSequence, KVCache
from ftllm_nb.engine.state_memory import StateSlot
from ftllm_nb.graph.ir import STATE, Node


def new_states(cache: KVCache, sequence: CachedSequence, copied: Collection[str]) -> StateSlot:
    """States for a step to write. Those of these names begin as copies, the others hold anything."""
    slot = cache.take_states(sequence)
    for name in copied:
        slot[name][...] = sequence.states[name]
    return slot


def keep_states(node: Node, arguments: dict[str, Any], states: Sequence[dict[str, NDArray[np.float32]]]) -> None:
    """Take over what a reference left in the lists that it was given: changed arrays, or others in their place."""
    for parameter, value in node.inputs.items():
        if value.kind == STATE:
            for slot, array in zip(states, arguments[parameter], strict=True):
                if array is not slot[value.name]:
                    slot[value.name][...] = array

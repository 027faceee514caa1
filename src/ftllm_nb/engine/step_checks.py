"""What is checked at a step's entrance: compiled kernels check nothing."""

from __future__ import annotations

import numpy as np

from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.errors import ContextLengthError, EngineError


def check_steps(steps: list[SequenceStep], vocab_size: int, max_positions: int, max_step_tokens: int) -> None:
    """Raise `EngineError` for steps that an executor cannot run, `ContextLengthError` for sequences too long."""
    if not steps or any(len(step.token_ids) == 0 for step in steps):
        raise EngineError("a step needs at least one token of each of its sequences.")
    if len({id(step.sequence) for step in steps}) < len(steps):
        raise EngineError("a sequence may be in a step once only.")
    if sum(len(step.token_ids) for step in steps) > max_step_tokens:
        raise EngineError(f"a step may hold at most {max_step_tokens} tokens.")
    if any(not 0 <= step.wants_logits <= len(step.token_ids) for step in steps):
        raise EngineError("logits can be had of the tokens of a step alone.")
    for step in steps:
        lowest, highest = int(np.min(step.token_ids)), int(np.max(step.token_ids))
        if lowest < 0 or highest >= vocab_size:
            wrong = lowest if lowest < 0 else highest
            raise EngineError(f"token id {wrong} is outside of the vocabulary of {vocab_size} tokens.")
        length = step.sequence.length + len(step.token_ids)
        if length > max_positions:
            raise ContextLengthError(
                f"{length} tokens do not fit into the model's context of {max_positions}."
            )

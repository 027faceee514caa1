"""What operators that are evaluated by NumPy may know of a step."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.ops.base import StepContext


def step_context(steps: list[SequenceStep], config: Mapping[str, Any]) -> StepContext:
    """The context of one step of a model with this config."""
    counts = [len(step.token_ids) for step in steps]
    rows = tuple(slice(end - count, end) for count, end in zip(counts, accumulate(counts), strict=True))
    return StepContext(tuple(step.wants_logits for step in steps), rows, config=config)

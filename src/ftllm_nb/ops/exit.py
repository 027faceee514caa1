"""Exit: stop the step here, after the prints before it."""

from __future__ import annotations

from ftllm_nb.errors import EngineError
from ftllm_nb.ops.base import Operator, StepContext


class Exit(Operator):
    """End this forward pass and report it; the program, or the server, goes on."""

    @staticmethod
    def infer() -> None:
        return None

    @staticmethod
    def reference(step: StepContext) -> None:
        raise EngineError(
            f"the graph's Exit() at {step.where} ended this step; remove it to let the model answer."
        )

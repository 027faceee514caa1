"""What the page says of the model."""

from __future__ import annotations

from typing import Any

from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.serving.protocol import Sampling
from ftllm_nb.serving.service import Service

SETTINGS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "seed")
"""What users of the page may set, by the API's names."""


def about(service: Service) -> dict[str, Any]:
    """The model's name, and once it is loaded what computes it, and its own values of SETTINGS where it has any."""
    model = service.model
    if model is None:
        return {"model": service.options.model_name, "ready": False}
    settings = service.settings(Sampling.model_validate({}), None, 0)
    # 0.8 for 0.800000011920929, which float32 numbers give.
    own = {name: getattr(settings, name) for name in SETTINGS}
    defaults = {name: float(f"{value:.6g}") for name, value in own.items() if value is not None}
    return {
        "model": service.options.model_name,
        "ready": True,
        "weights": model.weight_dtype,
        "tier": current_tier().name,
        "threads": model.threads,
        "context": model.engine.max_context,
        "thinking": bool(model.style.thinking_begins()),
        "defaults": {**defaults, "temperature": 0} if settings.is_greedy else defaults,
    }

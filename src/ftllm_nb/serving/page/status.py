"""What the page says of the model and of the last answer."""

from __future__ import annotations

from typing import Any

from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.serving.page.settings import SETTINGS
from ftllm_nb.serving.protocol import Sampling
from ftllm_nb.serving.service import Service


def model_line(service: Service) -> str:
    """The model's name, and once it is loaded its weights, what computes with them, and its context."""
    name, model = service.options.model_name, service.model
    if model is None:
        return f"{name} · loading …"
    threads = f"{model.threads} thread{'s' if model.threads > 1 else ''}"
    parts = (name, model.weight_dtype, current_tier().name, threads, f"{model.engine.max_context:,} tokens of context")
    return " · ".join(parts)


def default_settings(service: Service) -> dict[str, Any]:
    """The model's own values of SETTINGS; empty while it loads."""
    if service.model is None:
        return {}
    settings = service.settings(Sampling.model_validate({}), None, 0)
    defaults = {setting.name: getattr(settings, setting.name) for setting in SETTINGS}
    return {**defaults, "temperature": 0} if settings.is_greedy else defaults


def begins_thinking(service: Service) -> bool:
    """Whether prompts end inside of a thinking block, so that answers begin there."""
    prompt = service.ready_model().tokenizer.render_chat([{"role": "user", "content": "?"}], add_generation_prompt=True)
    return prompt.rstrip().endswith("<think>")


def counts_line(chunk: dict[str, Any], seconds: float, context: int) -> str:
    """Tokens a second and how full the context is, from a chunk of a stream with its usage.

    `seconds` since the first token of the answer; the last chunk knows the times better.
    """
    usage, times = chunk["usage"], chunk.get("timings")
    answer = usage["completion_tokens"]
    rate = times["predicted_per_second"] if times else (answer - 1) / seconds if seconds > 0 else 0.0
    parts = [f"{usage['total_tokens']:,} of {context:,} tokens"]
    if rate > 0:
        parts.append(f"{rate:.1f} tokens/s")
    if times:
        known = f", {times['cache_n']:,} of them known" if times["cache_n"] else ""
        parts.append(f"prompt of {usage['prompt_tokens']:,}{known}, in {_duration(times['prompt_ms'])}")
    return " · ".join(parts)


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"

"""What users of the page may set, and what a request to the model makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.protocol import ChatRequest


@dataclass(frozen=True)
class Setting:
    """A number that may be left empty: then the model's own holds. `name` is the API's."""

    name: str
    label: str
    info: str
    is_whole: bool = False
    without_default: str = ""
    """What an empty field means where the model has no value of its own."""


SETTINGS = (
    Setting("temperature", "Temperature", "0 always takes the likeliest token"),
    Setting("top_p", "Top p", "likeliest tokens that hold this share"),
    Setting("top_k", "Top k", "likeliest tokens; 0 is no limit", is_whole=True),
    Setting("min_p", "Min p", "share of the likeliest token's probability"),
    Setting("repetition_penalty", "Repetition penalty", "above 1 discourages repeating"),
    Setting("max_tokens", "Longest answer", "in tokens", is_whole=True, without_default="no limit"),
    Setting("seed", "Seed", "the same gives the same answer", is_whole=True, without_default="random"),
)


def chat_request(messages: list[dict[str, Any]], given: Sequence[float | None]) -> ChatRequest:
    """The request to the model; `given` in the order of SETTINGS. ApiError names the setting that is wrong."""
    fields: dict[str, Any] = {}
    for setting, value in zip(SETTINGS, given, strict=True):
        if value is not None:
            fields[setting.name] = int(value) if setting.is_whole and value == int(value) else value
    options = {"include_usage": True, "continuous_usage_stats": True}
    try:
        return ChatRequest.model_validate({"messages": messages, "stream": True, "stream_options": options, **fields})
    except ValidationError as error:
        raise ApiError(400, _sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = first["loc"][0]
    label = next((setting.label for setting in SETTINGS if setting.name == name), str(name))
    found = first["msg"]
    return f"{label}: {found[:1].lower()}{found[1:]}."


def placeholder(setting: Setting, defaults: dict[str, Any]) -> str:
    """What an empty field says: the model's own value. 0.8 for 0.800000011920929, which float32 numbers give."""
    value = defaults.get(setting.name)
    return setting.without_default if value is None else f"{value:.6g}"

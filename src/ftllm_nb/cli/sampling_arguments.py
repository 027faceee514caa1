"""How the next token is chosen: one table for the flags of `ftllm-nb chat`, for `/set` and for saved conversations."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftllm_nb.cli.number_types import real_number, whole_number
from ftllm_nb.engine.sampling_settings import MAX_SEED

if TYPE_CHECKING:
    from ftllm_nb.engine.sampling_settings import SamplingSettings


@dataclass(frozen=True)
class SamplingSetting:
    """`parse` makes the value of a text, or raises argparse.ArgumentTypeError; `option` is the name in Python."""

    parse: Callable[[str], Any]
    metavar: str
    help: str
    option: str


SAMPLING = {
    "temperature": SamplingSetting(
        real_number(0), "X",
        "how freely tokens are chosen: 0 always takes the likeliest, 1 keeps the model's probabilities",
        "temperature",
    ),
    "top_p": SamplingSetting(
        real_number(0, 1, above_low=True), "P",
        "choose among the likeliest tokens that hold this share of the probability; 1 is no limit",
        "top_p",
    ),
    "top_k": SamplingSetting(
        whole_number(0), "K", "choose among the K likeliest tokens; 0 is no limit", "top_k"
    ),
    "min_p": SamplingSetting(
        real_number(0, 1), "P",
        "leave out tokens less likely than this share of the likeliest one's probability; 0 is no limit",
        "min_p",
    ),
    "repeat_penalty": SamplingSetting(
        real_number(0, above_low=True), "X",
        "make tokens that occurred before less likely when above 1; 1 is no penalty",
        "repeat_penalty",
    ),
    "seed": SamplingSetting(
        whole_number(0, MAX_SEED), "N",
        "start of the random choices: the same seed gives the same answer (default: another each time)",
        "seed",
    ),
    "max_tokens": SamplingSetting(
        whole_number(1), "N",
        "longest answer in tokens (default: as long as the model's context allows)",
        "max_length",
    ),
}  # fmt: skip
"""The settings by name."""

ENGINE_NAMES = {"repeat_penalty": "repetition_penalty"}
"""What the engine calls a setting, where it has another name for it."""
MODEL_SAMPLING: dict[str, Any] = {
    "do_sample": None,
    "min_length": None,
    **{setting.option: None for setting in SAMPLING.values()},
}
"""What `Model.stream_response` takes so that the model's generation_config.json decides."""


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare a flag for each setting; one that is not given leaves the model's own default."""
    group = parser.add_argument_group(
        "sampling",
        "Flags that are not given follow the model's generation_config.json; where that says nothing of how to sample, "
        "temperature is 0.8, top_p 0.95 and min_p 0.05.",
    )
    for name, setting in SAMPLING.items():
        group.add_argument(f"--{name}", type=setting.parse, metavar=setting.metavar, help=setting.help)


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that flags gave, by name."""
    return {name: getattr(args, name) for name in SAMPLING if getattr(args, name) is not None}


def engine_settings(generation_config: dict[str, Any], settings: dict[str, Any]) -> SamplingSettings:
    """How tokens are chosen by these settings, and by a model's generation_config.json where there are none."""
    from ftllm_nb.engine.sampling_settings import merge_settings

    return merge_settings(generation_config, **_by_engine_names(settings))


def engine_sources(generation_config: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """Whose each value of `engine_settings` is: GIVEN, MODEL or DEFAULT of engine/sampling_settings.py, by its name."""
    from ftllm_nb.engine.sampling_settings import setting_sources

    sources = setting_sources(generation_config, **_by_engine_names(settings))
    return {**sources, **{name: sources[ENGINE_NAMES.get(name, name)] for name in SAMPLING}}


def _by_engine_names(settings: dict[str, Any]) -> dict[str, Any]:
    return {ENGINE_NAMES.get(name, name): value for name, value in settings.items()}


def stream_options(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as keyword arguments of `Model.stream_response`."""
    return {SAMPLING[name].option: value for name, value in settings.items()}

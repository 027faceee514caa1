"""How the next token is chosen: the settings, their limits, and where they come from.

An answer's settings are generation_config.json's with the caller's explicit arguments laid over them. What neither
gives is transformers' default where one of them says do_sample, since whoever says so has transformers' meaning in
mind, and else `USUAL`, what programs that people talk to models with have in common. `Sampler` (sampling.py) carries
them out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ftllm_nb.errors import CheckpointError, FtllmError, UsageError

MAX_SEED = 2**64 - 1

_EXPLICIT_ARGUMENTS_THAT_SAMPLE = ("temperature", "top_k", "top_p", "min_p")

USUAL: dict[str, Any] = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "min_p": 0.05}
"""What holds where neither the caller nor generation_config.json says how to sample."""

GIVEN, MODEL, DEFAULT = "given", "generation_config.json", "default"
"""Whose a setting's value is; see `setting_sources`."""


@dataclass(frozen=True)
class SamplingSettings:
    """How an answer's tokens are chosen, and how many there may be. Checked when made (`UsageError`)."""

    do_sample: bool = False
    """False: always the likeliest token, after the repetition penalty; the lowest id of equals."""
    temperature: float = 1.0
    """Logits are divided by it before they become probabilities; 0 is the same as do_sample=False."""
    top_k: int = 50
    """Only tokens at least as likely as the k-th likeliest stay; 0 keeps all."""
    top_p: float = 1.0
    """Only the smallest set of likeliest tokens whose probabilities reach top_p stays; 1 keeps all."""
    min_p: float = 0.0
    """Only tokens with at least min_p times the likeliest token's probability stay; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Logits of tokens that the prompt or the answer holds: divided by it if positive, else multiplied."""
    presence_penalty: float = 0.0
    """Taken from the logits of tokens that the answer holds already."""
    frequency_penalty: float = 0.0
    """Taken from a token's logit once for each time that the answer holds it."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token id, what is added to its logit)."""
    seed: int | None = None
    """The same seed, settings and logits give the same answer; None takes a fresh one each answer."""
    max_tokens: int | None = None
    """Most tokens of an answer; None: as many as the context holds."""
    min_tokens: int = 0
    """So many tokens are chosen before one that ends the answer may be."""
    ignore_eos: bool = False
    """No token that ends the answer is chosen at all, unless a constraint leaves no other."""
    stop_loops: bool = False
    """End an answer that only repeats itself (loops.py)."""

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            expected = check(getattr(self, name))
            if expected is not None:
                raise UsageError(f"{name} must be {expected}, not {getattr(self, name)!r}.")

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken, with no chance involved."""
        return not self.do_sample or self.temperature == 0

    def must_go_on(self, answer_tokens: int) -> bool:
        """Whether an answer that has so many tokens may not end yet."""
        return self.ignore_eos or answer_tokens < self.min_tokens


def merge_settings(
    generation_config: Mapping[str, Any], called: Mapping[str, str] | None = None, /, **explicit: Any
) -> SamplingSettings:
    """The settings of one answer: `explicit` arguments that are not None, else generation_config.json's, else the
    defaults that the module's description names. Loops end an answer unless stop_loops is given as False.

    do_sample as false in the file is greedy. Someone who names a temperature above 0, a top_k, top_p or min_p wants
    sampling, so that do_sample is then true unless it is given as well. Raises `CheckpointError` for a value in
    generation_config.json that is out of bounds, `UsageError` for an explicit one. `called`: what the caller knows
    settings by, where it has names of its own for them.
    """
    explicit = _without_none(explicit)
    values: dict[str, Any] = {"stop_loops": True}
    for _, layer in _layers(generation_config, called, explicit):
        values.update(layer)
    if "do_sample" not in explicit and any(name in explicit for name in _EXPLICIT_ARGUMENTS_THAT_SAMPLE):
        values["do_sample"] = True
    return SamplingSettings(**values)


def setting_sources(generation_config: Mapping[str, Any], /, **explicit: Any) -> dict[str, str]:
    """Whose each value is that `merge_settings` of the same arguments gives: GIVEN, MODEL or DEFAULT, by the name of
    the setting. Raises what `merge_settings` does."""
    sources = dict.fromkeys(_CHECKS, DEFAULT)
    for source, layer in _layers(generation_config, None, _without_none(explicit)):
        sources.update(dict.fromkeys(layer, source))
    return sources


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _layers(
    generation_config: Mapping[str, Any], called: Mapping[str, str] | None, explicit: Mapping[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """(whose, values by name): each wins over those before it."""
    of_model: dict[str, Any] = {}
    for name, key in _CONFIG_KEYS.items():
        value = generation_config.get(key)
        if value is None:
            continue
        if isinstance(value, float) and value.is_integer() and name in _INTEGERS:
            value = int(value)
        expected = _CHECKS[name](value)
        if expected is not None:
            raise CheckpointError(f"generation_config.json: {key} must be {expected}, not {value!r}.")
        of_model[name] = value
    for name, value in explicit.items():
        expected = _CHECKS[name](value)
        if expected is not None:
            raise UsageError(f"{(called or {}).get(name, name)} must be {expected}, not {value!r}.")
    has_transformers_meaning = "do_sample" in explicit or of_model.get("do_sample") is True
    return [(DEFAULT, {} if has_transformers_meaning else USUAL), (MODEL, of_model), (GIVEN, dict(explicit))]


def token_id_list(value: Any, where: str, error: type[FtllmError] = CheckpointError) -> list[int]:
    """Token ids that a file or a caller gives as one int, a list of ints or None."""
    ids = value if isinstance(value, (list, tuple, set, frozenset)) else [] if value is None else [value]
    if any(isinstance(token_id, bool) or not isinstance(token_id, int) for token_id in ids):
        raise error(f"{where} must be a token id or a list of token ids, not {value!r}.")
    return list(ids)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _number(accepts: Callable[[float], bool], expected: str) -> Callable[[Any], str | None]:
    return lambda value: None if _is_number(value) and accepts(value) else expected


def _integer(
    low: int, expected: str, *, high: int | None = None, optional: bool = False
) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if value is None and optional:
            return None
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        return None if is_integer and value >= low and (high is None or value <= high) else expected

    return check


def _biases(value: Any) -> str | None:
    expected = "pairs of a token id and a number from -100 to 100"
    if not isinstance(value, tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return expected
    is_token_id = _integer(0, expected)
    is_good = all(is_token_id(key) is None and _is_number(bias) and -100 <= bias <= 100 for key, bias in value)
    return None if is_good else expected


# Each returns None for a good value, else what was expected.
_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "do_sample": _boolean,
    "temperature": _number(lambda value: value >= 0, "a number of 0 or more"),
    "top_k": _integer(0, "a whole number of 0 or more"),
    "top_p": _number(lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    "min_p": _number(lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    "repetition_penalty": _number(lambda value: 0.01 <= value <= 100, "a number from 0.01 to 100"),
    "presence_penalty": _number(lambda value: -2 <= value <= 2, "a number from -2 to 2"),
    "frequency_penalty": _number(lambda value: -2 <= value <= 2, "a number from -2 to 2"),
    "logit_bias": _biases,
    "seed": _integer(0, f"a whole number from 0 to {MAX_SEED}", high=MAX_SEED, optional=True),
    "max_tokens": _integer(1, "a whole number of 1 or more", optional=True),
    "min_tokens": _integer(0, "a whole number of 0 or more"),
    "ignore_eos": _boolean,
    "stop_loops": _boolean,
}

_INTEGERS = ("top_k", "max_tokens", "min_tokens")

_CONFIG_KEYS = {
    "do_sample": "do_sample",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "max_tokens": "max_new_tokens",
    "min_tokens": "min_new_tokens",
}

"""Settings from generation_config.json and arguments: what wins, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.engine.sampling_settings import (
    DEFAULT,
    GIVEN,
    MAX_SEED,
    MODEL,
    SamplingSettings,
    merge_settings,
    setting_sources,
    token_id_list,
)
from ftllm_nb.errors import CheckpointError, UsageError

QWEN = {
    "bos_token_id": 151643,
    "do_sample": True,
    "eos_token_id": [151645, 151643],
    "repetition_penalty": 1.1,
    "temperature": 0.7,
    "top_p": 0.8,
    "top_k": 20,
    "transformers_version": "4.37.0",
}


USUAL = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "min_p": 0.05, "top_k": 50}


@pytest.mark.parametrize(("config", "explicit", "expected"), [
    ({}, {}, USUAL),
    ({"eos_token_id": 2, "_from_model_config": True}, {}, USUAL),
    ({}, {"temperature": 1.0}, {**USUAL, "temperature": 1.0}),
    # What a file leaves out that does not say do_sample is what nobody says.
    ({"temperature": 0.6}, {}, {**USUAL, "temperature": 0.6}),
    ({"temperature": 0.6, "min_p": 0.0}, {}, {**USUAL, "temperature": 0.6, "min_p": 0.0}),
    # Whoever says do_sample means transformers' defaults with it.
    ({"do_sample": True, "temperature": 0.6}, {}, {"do_sample": True, "temperature": 0.6}),
    ({}, {"do_sample": True}, {"do_sample": True}),
    ({"do_sample": False}, {}, {**USUAL, "do_sample": False}),
    ({"do_sample": False}, {"temperature": 0.5}, {**USUAL, "temperature": 0.5}),
])  # fmt: skip
def test_what_nobody_says(config: dict[str, Any], explicit: dict[str, Any], expected: dict[str, Any]) -> None:
    assert merge_settings(config, **explicit) == SamplingSettings(**expected, stop_loops=True)


def test_whose_a_value_is() -> None:
    sources = setting_sources({"temperature": 0.6, "do_sample": False, "top_k": None}, min_p=0.1, top_p=None)
    expected = {"temperature": MODEL, "do_sample": MODEL, "min_p": GIVEN, "top_p": DEFAULT, "top_k": DEFAULT}
    assert {name: sources[name] for name in expected} == expected
    assert set(sources) == set(vars(SamplingSettings()))


def test_the_file_is_followed() -> None:
    assert merge_settings(QWEN) == SamplingSettings(
        do_sample=True, temperature=0.7, top_k=20, top_p=0.8, repetition_penalty=1.1, stop_loops=True
    )


def test_arguments_win_over_the_file_and_none_leaves_it() -> None:
    settings = merge_settings(QWEN, temperature=0.2, top_k=None, top_p=1.0, min_p=0.1, seed=5, max_tokens=9)
    assert settings == SamplingSettings(
        do_sample=True,
        temperature=0.2,
        top_k=20,
        top_p=1.0,
        min_p=0.1,
        repetition_penalty=1.1,
        seed=5,
        max_tokens=9,
        stop_loops=True,
    )


@pytest.mark.parametrize(
    ("explicit", "greedy"),
    [
        ({}, True),
        ({"temperature": 0.5}, False),
        ({"top_p": 0.9}, False),
        ({"top_k": 5}, False),
        ({"min_p": 0.1}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0, "top_p": 0.9}, True),
        ({"temperature": 0.5, "do_sample": False}, True),
        ({"do_sample": True}, False),
        ({"seed": 1, "repetition_penalty": 1.2, "max_tokens": 4}, True),
    ],
)
def test_naming_a_sampling_argument_means_sampling(explicit: dict[str, Any], greedy: bool) -> None:
    if explicit:
        assert merge_settings({"do_sample": False, "top_k": 50}, **explicit).is_greedy is greedy
    assert merge_settings({"do_sample": False}, **explicit).is_greedy is greedy


def test_temperature_0_is_greedy_whatever_the_file_says() -> None:
    assert merge_settings(QWEN, temperature=0).is_greedy
    assert merge_settings({**QWEN, "temperature": 0}).is_greedy


def test_null_and_whole_floats_in_the_file() -> None:
    settings = merge_settings({"top_k": 20.0, "top_p": None, "max_new_tokens": 64})
    assert (settings.top_k, settings.top_p, settings.max_tokens) == (20, 0.95, 64)


WRONG: list[tuple[str, Any]] = [
    ("do_sample", 1),
    ("temperature", -0.1),
    ("temperature", float("nan")),
    ("temperature", float("inf")),
    ("temperature", "0.7"),
    ("top_k", -1),
    ("top_k", 2.5),
    ("top_k", True),
    ("top_p", 1.01),
    ("top_p", [0.5]),
    ("min_p", -0.5),
    ("repetition_penalty", 0),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_one_sentence_that_says_where_it_is(name: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=rf"^generation_config\.json: {name} must be .*, not .*\.$"):
        merge_settings({name: value})
    with pytest.raises(UsageError, match=rf"^{name} must be .*, not .*\.$"):
        merge_settings({}, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("seed", -1), ("seed", MAX_SEED + 1), ("seed", 0.5), ("max_tokens", 0)]
)
def test_seeds_and_lengths_out_of_bounds(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"^{name} must be a whole number"):
        merge_settings({}, **{name: value})


def test_token_ids_as_files_give_them() -> None:
    assert token_id_list(None, "x") == []
    assert token_id_list(7, "x") == [7]
    assert token_id_list([7, 8], "x") == [7, 8]
    for wrong in ("7", [7, "8"], True, 7.5, {"a": 1}):
        with pytest.raises(CheckpointError, match=r"^x must be a token id"):
            token_id_list(wrong, "x")

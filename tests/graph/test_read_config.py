"""What counts as reading an entry of config.json."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from ftllm_nb.graph.read_config import ReadConfig


def keywords(**entries: Any) -> dict[str, Any]:
    return entries


@pytest.mark.parametrize(
    "reading",
    [
        lambda config: config["a"],
        lambda config: config.get("a"),
        lambda config: config.pop("a"),
        lambda config: config.setdefault("a", 3),
        lambda config: config.update(a=3),
        lambda config: config.update({"a": 3}),
        lambda config: config.__setitem__("a", 3),
        lambda config: config.__delitem__("a"),
        lambda config: config.__ior__({"a": 3}),
    ],
)
def test_one_entry(reading: Callable[[ReadConfig], Any]) -> None:
    config = ReadConfig({"a": 1, "b": 2})
    reading(config)
    assert config.unread == {"b": 2}
    assert "b" not in config.read


@pytest.mark.parametrize(
    "reading",
    [
        dict, lambda config: {**config}, lambda config: keywords(**config), copy.copy, copy.deepcopy, json.dumps,
        lambda config: config | {"c": 3}, lambda config: {"c": 3} | config, lambda config: config.copy(),
        lambda config: list(config.items()), lambda config: list(config.values()), pickle.dumps,
    ],
)  # fmt: skip
def test_all_entries(reading: Callable[[ReadConfig], Any]) -> None:
    config = ReadConfig({"a": 1, "b": 2})
    made = reading(config)
    assert config.unread == {}
    assert not isinstance(made, ReadConfig)


@pytest.mark.parametrize(
    "looking", [lambda config: "a" in config, len, list, bool, ReadConfig.peek, lambda config: config == {"a": 1}]
)
def test_no_entry(looking: Callable[[ReadConfig], Any]) -> None:
    config = ReadConfig({"a": 1, "b": 2})
    looking(config)
    assert config.unread == {"a": 1, "b": 2}


def test_what_is_assigned_was_not_given() -> None:
    config = ReadConfig({"a": 1, "b": 2, "c": 3})
    config["a"] = config["b"] + config.setdefault("c", 4) + config.setdefault("d", 5)
    assert config == {"a": 10, "b": 2, "c": 3, "d": 5}
    assert (config.read, config.unread) == ({"b": 2, "c": 3}, {})


def test_it_is_the_dict_that_it_was_made_of() -> None:
    config = ReadConfig({"a": 1, "b": [2]})
    config |= {"c": 3}
    assert isinstance(config, ReadConfig) and config == {"a": 1, "b": [2], "c": 3}
    assert pickle.loads(pickle.dumps(config)) == config == copy.deepcopy(config)
    assert config.pop("d", 4) == 4 and config.get("d") is None

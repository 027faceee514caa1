from __future__ import annotations

import pytest

from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.page.settings import SETTINGS, chat_request, placeholder

NONE: list[float | None] = [None] * len(SETTINGS)
QUESTION = [{"role": "user", "content": "x"}]


def with_setting(name: str, value: float) -> list[float | None]:
    return [value if setting.name == name else None for setting in SETTINGS]


def test_what_is_empty_is_the_models_own() -> None:
    given = chat_request(QUESTION, NONE).model_dump(exclude_none=True)
    assert not {setting.name for setting in SETTINGS} & set(given)
    assert chat_request(QUESTION, with_setting("top_k", 7.0)).top_k == 7
    assert chat_request(QUESTION, with_setting("temperature", 0)).temperature == 0


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("temperature", 9, "Temperature: input should be less than or equal to 2."),
        ("top_k", 1.5, "Top k: input should be a valid integer."),
        ("max_tokens", 0, "Longest answer: input should be greater than or equal to 1."),
        ("min_p", float("nan"), "Min p: input should be"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: float, sentence: str) -> None:
    with pytest.raises(ApiError) as error:
        chat_request(QUESTION, with_setting(name, value))
    assert str(error.value).startswith(sentence)


def test_placeholders_are_the_models_own_values() -> None:
    settings = {setting.name: setting for setting in SETTINGS}
    assert placeholder(settings["temperature"], {"temperature": 0.800000011920929}) == "0.8"
    assert placeholder(settings["max_tokens"], {"max_tokens": None}) == "no limit"
    assert placeholder(settings["seed"], {}) == "random"

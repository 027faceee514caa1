"""A template cannot take all time or memory; transformers' own would."""

from __future__ import annotations

import time

import pytest

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer import template_environment
from ftllm_nb.tokenizer.chat_template import ChatTemplate

LOOP = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}BODY"
    "{% endfor %}{% endfor %}{% endfor %}"
)


@pytest.mark.parametrize(
    "source",
    [
        LOOP.replace("BODY", ""),
        LOOP.replace("BODY", "{% set x = 1 %}"),
        LOOP.replace("BODY", "{% if false %}{{ c }}{% endif %}"),
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(50) }}",
    ],
)
def test_time_is_limited(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr(template_environment, "MAX_SECONDS", 0.2)
    started = time.thread_time()
    with pytest.raises(TokenizerError, match="the chat template is stopped: it runs for more than"):
        ChatTemplate(source, "here").render({})
    assert time.thread_time() - started < 5


@pytest.mark.parametrize(
    "source",
    [
        LOOP.replace("BODY", "some output" * 100),
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ [1] * 10**9 }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ 2 ** 1000 }}",
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=9) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{{ 'a' | center(10**9) }}",
        "{{ 'a' | indent(10**9) }}",
        "{{ 'a'.ljust(10**9) }}",
        "{{ 'a'.rjust(width=10**9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10**9) }}",
    ],
)
def test_memory_is_limited(source: str) -> None:
    started = time.thread_time()
    with pytest.raises(TokenizerError, match="the chat template is stopped: "):
        ChatTemplate(source, "here").render({})
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("name", ["lipsum", "self.x", "cycler.__init__.__globals__"])
def test_nothing_outside_is_in_reach(name: str) -> None:
    with pytest.raises(TokenizerError):
        ChatTemplate("{{ NAME() }}".replace("NAME", name), "here").render({})


def test_long_messages_with_numbers_and_percent_signs_are_no_formats() -> None:
    message = "100% of 12345678901234567890: {:99999999999}"
    source = "{{ m }}{{ m | indent(2) }}{{ m + '' }}{{ '%s' % m }}{{ m | center(3) }}{{ '%s' | format(m) }}"
    assert ChatTemplate(source, "here").render({"m": message}) == message * 6

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.chat_template import ChatTemplate, choose_template, find_chat_templates
from tests.tokenizer.folders import write_json


def render(source: str, **variables: Any) -> str:
    return ChatTemplate(source, "here.jinja").render(variables)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for x in [1, 2] %}\n  {% if x == 2 %}\nb{{ x }}\n  {% endif %}\n{% endfor %}\n", "b2\n"),
        ("{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", "1"),
        ("{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "13"),
        ("{% for x in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% for x in [1, [2]] recursive %}{{ x if x is number else loop(x) }}{% endfor %}", "12"),
        ("{% for x in 'ab' %}{{ loop.index }}{{ loop.last }}{{ loop.previtem }}{% endfor %}", "1False2Truea"),
        (
            "{% set n = namespace(s=0) %}{% for x in [1, 2] %}{% set n.s = n.s + x %}{% endfor %}{{ n.s }}",
            "3",
        ),
        ("{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }}{{ m(b=3, a=0) }}", "1-20-3"),
        ("{{ {'a': '<b>&\\'你'} | tojson }}", '{"a": "<b>&\'你"}'),
        ("{{ [1, {'b': 2}] | tojson(indent=1) }}", '[\n 1,\n {\n  "b": 2\n }\n]'),
        (
            "{{ 'a' ~ 1 ~ none }}{{ 'b' + 'c' }}{{ 2 * 3 }}{{ 'x' * 3 }}{{ 7 % 4 }}{{ 2 ** 5 }}",
            "a1Nonebc6xxx332",
        ),
        ("{{ '%s-%03d' % ('a', 7) }}{{ '%s!' | format('b') }}{{ '{:>3}'.format(5) }}", "a-007b!  5"),
        ("{{ 'a' | center(3) }}|{{ 'b\nc' | indent(2) }}", " a |b\n  c"),
        ("{% generation %}{{ 'kept' }}{% endgeneration %}!", "kept!"),
        ("{{ undefined_name }}{{ undefined_name is defined }}", "False"),
        ("{{ dict(a=1).items() | list }}", "[('a', 1)]"),
    ],
)
def test_what_templates_can_do(source: str, expected: str) -> None:
    assert render(source) == expected


def test_strftime_now() -> None:
    assert len(render("{{ strftime_now('%d %b %Y') }}")) == 11


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "a\nb{% if %}",
            "here.jinja: the chat template has a syntax error in line 2: Expected an expression",
        ),
        ("{% for x in y %}", "syntax error in line 1: Unexpected end of template"),
        ("{{ 'a }}", "syntax error in line 1"),
        ("{% nonsense %}", "syntax error in line 1: Encountered unknown tag 'nonsense'"),
        ("{{ 'a' | nonsense }}", "syntax error in line 1: No filter named 'nonsense'"),
        ("{{ 'a' is nonsense }}", "syntax error in line 1: No test named 'nonsense'"),
        (
            "\n{{ raise_exception('Roles must alternate.') }}",
            "refuses this conversation: Roles must alternate.",
        ),
        ("{{ raise_exception() }}", "missing 1 required positional argument"),
        ("a\n\n{{ missing.attribute }}", "fails on this conversation in line 3: 'missing' is undefined."),
        ("{{ 1 / 0 }}", "fails on this conversation in line 1: division by zero."),
        ("{{ 'a' + 1 }}", "fails on this conversation in line 1: can only concatenate str"),
        ("{{ nonsense('a') }}", "'nonsense' is undefined"),
        ("{% include 'other' %}", "no loader for this environment specified"),
        ("{{ [].append(1) }}", "does what the sandbox forbids"),
        ("{{ ''.__class__.__mro__ }}", "does what the sandbox forbids"),
        ("{{ strftime_now.__globals__.x }}", "does what the sandbox forbids"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "too much memory or recursion"),
    ],
)
def test_every_failure_is_one_sentence(source: str, sentence: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        render(source)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_template_is_compiled_at_its_first_use_only() -> None:
    template = ChatTemplate("{% if %}", "here")
    with pytest.raises(TokenizerError):
        template.render({})


def test_places_of_templates(tmp_path: Path) -> None:
    assert find_chat_templates(tmp_path, {}) == {}
    write_json(tmp_path / "chat_template.json", {"chat_template": "from json"})
    assert find_chat_templates(tmp_path, {})["default"].source == "from json"
    config = {"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]}
    found = find_chat_templates(tmp_path, config)
    assert {name: template.source for name, template in found.items()} == {"default": "d", "tool_use": "t"}
    assert find_chat_templates(tmp_path, {"chat_template": "plain"})["default"].source == "plain"
    (tmp_path / "chat_template.jinja").write_text("from file", encoding="utf-8")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("rag", encoding="utf-8")
    found = find_chat_templates(tmp_path, config)
    assert {name: template.source for name, template in found.items()} == {
        "default": "from file",
        "rag": "rag",
    }
    assert found["rag"].where.endswith("rag.jinja")


def test_choice_of_template() -> None:
    named = {name: ChatTemplate(name, name) for name in ("default", "tool_use", "rag")}
    assert choose_template({}, with_tools=False) is None
    assert choose_template(named, with_tools=False) is named["default"]
    assert choose_template(named, with_tools=True) is named["tool_use"]
    assert choose_template({"rag": named["rag"]}, with_tools=True) is named["rag"]
    with pytest.raises(TokenizerError, match=r"none is called default: rag, tool_use\."):
        choose_template({"rag": named["rag"], "tool_use": named["tool_use"]}, with_tools=False)


@pytest.mark.parametrize(
    "value", [7, [], {}, ["a"], [{"name": "default"}], [{"name": 1, "template": "a"}], {"a": 1}]
)
def test_wrong_types_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(
        TokenizerError, match=r"tokenizer_config\.json: chat_template must be a template or a list"
    ):
        find_chat_templates(tmp_path, {"chat_template": value})


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(TokenizerError, match=r"chat_template\.jinja cannot be read"):
        find_chat_templates(tmp_path, {})
    (tmp_path / "chat_template.jinja").write_bytes(b" " * (3 * 2**20))
    with pytest.raises(TokenizerError, match="larger than 2 MB"):
        find_chat_templates(tmp_path, {})

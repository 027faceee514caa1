"""Which family a chat template belongs to, and how a loaded model's answers are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftllm_nb.answers.events import CallBegins, Content, Event, Reasoning
from ftllm_nb.answers.families import family_named, family_names, family_of
from ftllm_nb.answers.family import THINKING
from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.errors import UsageError
from ftllm_nb.tokenizer import load_tokenizer
from tests.puppet import TEMPLATE, write_puppet

TEMPLATES = {
    # Lines of the published templates, of which some have signs of other families, too.
    "hermes": [
        '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n" <tool_call>\\n',
        '"<|start_of_role|>system<|end_of_role|>" within <tool_call></tool_call> XML tags: "parameters"',
        "{{ bos_token }}{% for message in messages %}",
        "",
    ],
    "qwen3_coder": ["<tool_call>\\n<function=example_function_name>\\n<parameter=example_parameter_1>"],
    "seed_oss": ["<seed:tool_call>\\n<function=example_function_name>\\n<parameter=example_parameter_1>"],
    "glm4": ["<tool_call>{function-name}\\n<arg_key>{arg-key-1}</arg_key>\\n<arg_value>"],
    "minimax": ["<minimax:tool_call>\\n<invoke name=\\\"tool-name-1\\\">\\n<parameter name="],
    "llama3": [
        'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.',
        '{{- "<|python_tag|>" + tool_call.name + ".call(" }}',
        '"<|python_start|>" "parameters"',
    ],
    "pythonic": ['"parameters" [func_name1(params_name1=params_value1, params_name2=params_value2...)]'],
    "mistral": ['"[AVAILABLE_TOOLS] [" "[TOOL_CALLS] ["'],
    "mistral_args": ["'[TOOL_CALLS]' + name + '[ARGS]' + arguments"],
    "deepseek_v3": ["'<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + name + '\\n' + '```json'"],
    "deepseek_v31": ["'<｜tool▁call▁begin｜>' + name + '<｜tool▁sep｜>' + arguments + '<｜tool▁call▁end｜>'"],
    "deepseek_v32": ["<｜DSML｜function_calls>"],
    "kimi_k2": ["<|tool_call_begin|>{{ formatted_id }}<|tool_call_argument_begin|>"],
    "granite": ["'<|start_of_role|>' '<|tool_call|>' followed by a JSON list of tools"],
    "phi4": ["<|tool_call|>{\"name\": \"foo\"}<|/tool_call|>", "'<|tool|>' + message['tools'] + '<|/tool|>'"],
    "cohere": ['<|START_ACTION|>[ {"tool_call_id": "0", "tool_name": "", "parameters": {}} ]<|END_ACTION|>'],
    "lfm2": ["<|tool_call_start|>[", "List of tools: <|tool_list_start|>["],
    "gemma3": ["'<start_of_turn>' + role"],
    "gemma4": ["'<|tool_call>call:' + function['name'] + '{'", "'<start_of_turn>' <start_function_call>call:"],
    "harmony": ["<|start|>assistant<|channel|>analysis<|message|>"],
}  # fmt: skip


def test_a_template_belongs_to_a_family() -> None:
    assert set(TEMPLATES) == set(family_names())
    for name, templates in TEMPLATES.items():
        assert [family_of(template).name for template in templates] == [name] * len(templates)


def test_a_name_that_is_none_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'qwen3_codr' is no known form of calls; did you mean qwen3_coder\?"):
        family_named("qwen3_codr")


def test_families_of_their_own_files_keep_their_names() -> None:
    assert [family_named(name).name for name in family_names()] == family_names()
    assert all(set(THINKING) <= set(family_named(name).thinking) or name == "harmony" for name in family_names())


def test_tags_that_are_tokens_are_seen_and_the_same_as_text_is_not(tmp_path: Path) -> None:
    template = TEMPLATE + "{# <tool_call> #}"
    calls = ["<tool_call>", "</tool_call>"]
    folder = write_puppet(tmp_path / "m", "x", template, control=["<think>", "</think>"], added=calls)
    tokenizer = load_tokenizer(folder, json.loads((folder / "tokenizer_config.json").read_text()), {})
    style = AnswerStyle(tokenizer)

    def read(text: str, are_tokens: bool) -> list[Event]:
        """The events of a text whose tags are tokens, or written as text."""
        ids = tokenizer.encode_prompt(text) if are_tokens else tokenizer.encode_text(text)
        parser, decoder = style.parser({"f": {}}), style.decoder()
        events = [event for each in ids for event in parser.push(decoder.push(each))]
        return [*events, *parser.finish(False)]

    call = '<tool_call>{"name": "f"}</tool_call>'
    assert read(call, True)[0] == CallBegins("f")
    assert {type(event) for event in read(call, False)} == {Content}
    assert "".join(event.text for event in read(call, False) if isinstance(event, Content)) == call
    assert read("<think>hm</think>5", True)[0] == Reasoning("h")
    # A special token that means nothing where it stands is left out, as in any text.
    assert "".join(event.text for event in read("5 </think>6", True) if isinstance(event, Content)) == "5 6"


def test_the_prompt_says_where_the_answer_begins(tmp_path: Path) -> None:
    folder = write_puppet(tmp_path / "m", "x", TEMPLATE)
    tokenizer = load_tokenizer(folder, json.loads((folder / "tokenizer_config.json").read_text()), {})
    style = AnswerStyle(tokenizer, "hermes")
    assert style.opened_thinking(tokenizer.encode_text("Why? <think>\n")) == THINKING[0]
    assert style.opened_thinking(tokenizer.encode_text("<think>\n\n</think>\n\n")) is None
    assert style.opened_thinking([]) is None

"""Answers as the published models write them, family by family, and what they hold.

»…« in an answer is text that only looks like a tag: there it is no control token, although tags elsewhere are.
"""

# ruff: noqa: E501  an answer is a line, as long as it is
from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ftllm_nb.answers.events import Arguments, CallBegins, CallEnds, Content, Event, Reasoning
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.tags import Tags

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
FUNCTIONS: dict[str, dict[str, Any]] = {
    "get_weather": CITY,
    "get_time": {"type": "object", "properties": {"zone": {"type": "string"}}},
    "write": {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "lines": {"type": "array", "items": {"type": "integer"}},
            "options": {"type": "object"},
            "force": {"type": "boolean"},
            "rate": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
    },
}
PARIS = ("get_weather", {"city": "Paris"})
ROME = ("get_weather", {"city": "Rome", "days": 2})
TIME = ("get_time", {"zone": "Europe/Rome"})
NOW: tuple[str, dict[str, Any]] = ("get_time", {})


@dataclass(frozen=True)
class Written:
    """An answer and what it holds. `calls`: names and arguments."""

    family: str
    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    content: str = ""
    reasoning: str = ""


def tags_of(family: Family, are_tokens: bool, are_special: bool = False) -> Tags:
    """The family's tags, all as control tokens or none."""
    like_tokens = filter(re.compile(r"[<\[◁｜][^<>\[\]]*[>\]▷｜]").fullmatch, family.all_tags())
    ids = {tag: number for number, tag in enumerate(like_tokens)}
    return Tags(ids if are_tokens else {}, ids.values() if are_special else ())


def marked(text: str, tags: Tags) -> str:
    """An answer as the parser gets it."""
    parts = re.split("»(.*?)«", text, flags=re.DOTALL)
    return "".join(part if number % 2 else tags.mark(part) for number, part in enumerate(parts))


def summary(events: list[Event]) -> tuple[str, str, list[tuple[str, str]]]:
    """(reasoning, content, names and arguments of calls) of all events; checks that they are in order."""
    reasoning = content = ""
    calls: list[tuple[str, str]] = []
    is_open = False
    for event in events:
        if isinstance(event, Reasoning):
            reasoning += event.text
        elif isinstance(event, Content):
            content += event.text
        elif isinstance(event, CallBegins):
            calls.append((event.name, ""))
            is_open = True
        elif isinstance(event, Arguments):
            assert is_open
            calls[-1] = (calls[-1][0], calls[-1][1] + event.text)
        else:
            assert isinstance(event, CallEnds) and is_open
            json.loads(calls[-1][1])
            is_open = False
    return reasoning, content, calls


CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
WRITE = ("write", {"text": "a <tool_call> or </tool_call> {\"x\"} 'y'\n\\d é 🙂", "lines": [1, 2]})
WRITE_JSON = (
    r'{"text": "a »<tool_call>« or »</tool_call>« {\"x\"} '
    r"""'y'\n\\d é 🙂", "lines": [1, 2]}"""
)
DEEP = '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'
DEEP_END = '<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
KIMI = "<|tool_calls_section_begin|><|tool_call_begin|>"

WRITTEN = [
    Written("hermes", "It is 5, and 1 < 2.", content="It is 5, and 1 < 2."),
    Written("hermes", "  indented\n\n", content="  indented\n\n"),
    Written("hermes", CALL, (PARIS,)),
    Written("hermes", f"Let me see.\n\n{CALL}\n<tool_call>\n"
            '{"name": "get_time", "arguments": {"zone": "Europe/Rome"}}\n</tool_call>', (PARIS, TIME), "Let me see."),
    Written("hermes", f"<think>\nI could use <tool_call> now.\n</think>\n\n{CALL}", (PARIS,), "",
            "I could use <tool_call> now."),
    Written("hermes", f"I write »<tool_call>« first.\n{CALL}\nDone.", (PARIS,), "I write <tool_call> first.Done."),
    Written("hermes", f'<tool_call>\n{{"name": "write", "arguments": {WRITE_JSON}}}\n</tool_call>', (WRITE,)),
    Written("hermes", '<tool_call>{"arguments": {"city": "Paris"}, "name": "get_weather"}</tool_call>', (PARIS,)),
    Written("hermes", '<tool_call>\n{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}\n</tool_call>',
            (PARIS,)),
    Written("hermes", '<tool_call>{"type": "function", "function": {"name": "get_time", "arguments": null}}</tool_call>',
            (NOW,)),
    Written("hermes", '<tool_call>{"name": "get_time"}</tool_call>', (NOW,)),
    Written("hermes", '<tool_call>{"name": "get_time", "arguments": ""}</tool_call>', (NOW,)),
    Written("hermes", '<tool_call>{"name": "get_weather", "arguments": {"city": NaN, "days": 1e999}}</tool_call>',
            (("get_weather", {"city": None, "days": None}),)),
    Written("hermes", "<tool_call>{'name': 'write', 'arguments': {'force': True, 'rate': None,}}</tool_call>",
            (("write", {"force": True, "rate": None}),)),
    Written("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}\n</tool_call>', (PARIS,)),
    Written("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"\n</tool_call>', (PARIS,)),
    Written("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}', (PARIS,)),
    Written("hermes", '<tool_call>{"name": "get_weather", "arguments": {"days": 2</tool_call>', (("get_weather", {"days": 2}),)),
    Written("hermes", '<tool_call>{name: get_weather, arguments: {city: Paris}}</tool_call>', content="<tool_call>{name: get_weather, arguments: {city: Paris}}</tool_call>"),
    Written("hermes", '<tool_call>{"name": "rm", "arguments": {"x": "»<tool_call>«"}}</tool_call> ok',
            content='<tool_call>{"name": "rm", "arguments": {"x": "<tool_call>"}}</tool_call> ok'),
    Written("hermes", "<tool_call>\nno json\n</tool_call>", content="<tool_call>\nno json\n</tool_call>"),
    Written("hermes", '<tool_call>{"name": "get_time", "arguments": [1]}</tool_call>',
            content='<tool_call>{"name": "get_time", "arguments": [1]}</tool_call>'),
    Written("qwen3_coder", "Sure.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n"
            "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>", (ROME,), "Sure."),
    Written("qwen3_coder", "<think>\nhm\n</think>\n\n<tool_call>\n<function=write>\n<parameter=text>\n"
            '<a b="c">\n»</parameter>«\n</a>\n\n</parameter>\n<parameter=lines>\n[1, 2]\n</parameter>\n<parameter=options>'
            "\n{'a': 1}\n</parameter>\n<parameter=force>\nTrue\n</parameter>\n<parameter=rate>\nnull\n</parameter>\n"
            "</function>\n</tool_call>\n<tool_call>\n<function=get_time>\n</function>\n</tool_call>",
            (("write", {"text": '<a b="c">\n</parameter>\n</a>\n', "lines": [1, 2], "options": {"a": 1}, "force": True,
                        "rate": None}), NOW), "", "hm"),
    Written("qwen3_coder", "<function=get_time>\n<parameter=zone>\n12\n</parameter>\n</function>\n</tool_call>",
            (("get_time", {"zone": "12"}),)),
    Written("qwen3_coder", "<tool_call>\n<function=rm>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>",
            content="<tool_call>\n<function=rm>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>"),
    Written("seed_oss", "<seed:think>\nhm\n</seed:think><seed:tool_call>\n<function=get_weather>\n"
            "<parameter=city>Paris</parameter>\n</function>\n</seed:tool_call>", (PARIS,), "", "hm"),
    Written("minimax", 'Ok\n<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Rome</parameter>\n'
            '<parameter name="days">2</parameter>\n</invoke>\n<invoke name="get_time">\n'
            '<parameter name="zone">Europe/Rome</parameter>\n</invoke>\n</minimax:tool_call>', (ROME, TIME), "Ok"),
    Written("glm4", "\n<think>hm</think>\nOk\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>"
            "\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>", (ROME,), "Ok", "hm"),
    Written("glm4", "<tool_call>get_time</tool_call><tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris"
            "</arg_value></tool_call>", (NOW, PARIS)),
    Written("llama3", '{"name": "get_weather", "parameters": {"city": "Paris"}}', (PARIS,)),
    Written("llama3", ' {"name": "get_time", "parameters": {}}; {"name": "get_weather", "parameters": {"city": "Paris"}}',
            (NOW, PARIS)),
    Written("llama3", '<|python_tag|>{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}',
            (PARIS,)),
    Written("llama3", 'I look.\n{"type": "function", "function": "get_weather", "parameters": {"city": "Paris"}}', (PARIS,),
            "I look."),
    Written("llama3", 'See {"name": "get_time"} and\n{"no": "call"} [x](y)', content='See {"name": "get_time"} and\n{"no": '
            '"call"} [x](y)'),
    Written("llama3", '<|python_tag|>get_weather.call(city="Paris")', (PARIS,)),
    Written("llama3", '{"name": "write", "parameters": {"text": "a;b", "lines": "[1]"}}',
            (("write", {"text": "a;b", "lines": "[1]"}),)),
    Written("pythonic", "[get_weather(city='Rome', days=2), get_time()]", (ROME, NOW)),
    Written("pythonic", '<|python_start|>[write(text="""a "b"\n\\tc""", lines=(1, 2), options={\'a\': [True]}, rate=-.5)]'
            "<|python_end|>", (("write", {"text": 'a "b"\n\tc', "lines": [1, 2], "options": {"a": [True]}, "rate": -0.5}),)),
    Written("pythonic", "[link](x) and [1, 2]\n[a]", content="[link](x) and [1, 2]\n[a]"),
    Written("mistral", '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}, {"name": '
            '"get_time", "arguments": {}}]', (ROME, NOW)),
    Written("mistral", '[TOOL_CALLS][{"arguments": {"city": "Paris"}, "name": "get_weather", "id": "a1b2c3d4e"}]', (PARIS,)),
    Written("mistral_args", '[THINK]hm[/THINK]Sure.[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]get_time[ARGS]'
            '{"zone": "Europe/Rome"}', (PARIS, TIME), "Sure.", "hm"),
    Written("mistral_args", '[TOOL_CALLS]get_weather[CALL_ID]a1b2c3d4e[ARGS]{"city": "»[TOOL_CALLS]«"}',
            (("get_weather", {"city": "[TOOL_CALLS]"}),)),
    Written("deepseek_v3", f"<think>\nhm\n</think>\n\nI look.{DEEP}function<｜tool▁sep｜>get_weather\n```json\n"
            '{"city": "Paris"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time\n```json\n{}\n```'
            + DEEP_END, (PARIS, NOW), "I look.", "hm"),
    Written("deepseek_v31", f'{DEEP}get_weather<｜tool▁sep｜>{{"city": "Paris"}}<｜tool▁call▁end｜><｜tool▁call▁begin｜>'
            f'get_time<｜tool▁sep｜>{{}}{DEEP_END}', (PARIS, NOW)),
    Written("deepseek_v32", '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" '
            'string="true">Rome</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n'
            '</｜DSML｜invoke>\n</｜DSML｜function_calls>', (ROME,)),
    Written("kimi_k2", f'<think>hm</think>Ok{KIMI}functions.get_weather:0<|tool_call_argument_begin|>{{"city": "Paris"}}'
            '<|tool_call_end|><|tool_call_begin|>functions.get_time:1<|tool_call_argument_begin|>{}<|tool_call_end|>'
            '<|tool_calls_section_end|>', (PARIS, NOW), "Ok", "hm"),
    Written("kimi_k2", f'<think>hm{KIMI}functions.get_time:0<|tool_call_argument_begin|>{{}}<|tool_call_end|>'
            '<|tool_calls_section_end|>', (NOW,), "", "hm"),
    Written("granite", '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "get_time"}]',
            (PARIS, NOW)),
    Written("granite", "Here is my thought process: hm Here is my response: 5", content="5", reasoning="hm"),
    Written("granite", "<think>hm</think><response>5</response>", content="5", reasoning="hm"),
    Written("phi4", '<|tool_call|>[{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]'
            "<|/tool_call|>", (PARIS,)),
    Written("phi4", 'functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]', (PARIS,)),
    Written("phi4", "<think>hm</think>5 functools is a module", content="5 functools is a module", reasoning="hm"),
    Written("cohere", '<|START_THINKING|>hm<|END_THINKING|><|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": '
            '"get_weather", "parameters": {"city": "Paris"}},\n    {"tool_call_id": "1", "tool_name": "get_time", '
            '"parameters": {}}\n]<|END_ACTION|>', (PARIS, NOW), "", "hm"),
    Written("cohere", "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>It is 5.<|END_RESPONSE|>",
            content="It is 5.", reasoning="hm"),
    Written("lfm2", '<|tool_call_start|>[get_weather(city="Paris"), get_time()]<|tool_call_end|>I look.', (PARIS, NOW),
            "I look."),
    Written("lfm2", '<|tool_call_start|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]<|tool_call_end|>', (PARIS,)),
    Written("gemma3", 'I look.\n```tool_code\nprint(get_weather("Rome", days=2))\n```', (ROME,), "I look."),
    Written("gemma3", "```tool_code\nget_weather(city='Paris')\nget_time()\n```", (PARIS, NOW)),
    Written("gemma3", "```python\nprint(1)\n```", content="```python\nprint(1)\n```"),
    Written("gemma4", '<|channel>thought\nhm<channel|><|tool_call>call:get_weather{city:<|"|>Rome<|"|>,days:2}<tool_call|>'
            "<|tool_call>call:get_time{}<tool_call|>", (ROME, NOW), "", "hm"),
    Written("gemma4", '<|tool_call>call:write{force:true,lines:[1,2],options:{a:[<|"|>b<|"|>]},text:<|"|>c "d" \\n {e}<|"|>}'
            "<tool_call|>", (("write", {"force": True, "lines": [1, 2], "options": {"a": ["b"]}, "text": 'c "d" \\n {e}'}),)),
    Written("gemma4", "<|channel>thought\n<channel|>It is 5.", content="It is 5."),
    Written("gemma4", '<start_function_call>call:get_weather{city:<escape>Paris<escape>}<end_function_call>', (PARIS,)),
    Written("harmony", "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>It is 5.",
            content="It is 5.", reasoning="hm"),
    Written("harmony", "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary<|message|>I look."
            "<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
            '{"city": "Paris"}', (PARIS,), "I look.", "hm"),
    Written("harmony", '<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Paris"}'
            "<|call|>", (PARIS,)),
    Written("harmony", "<|channel|>commentary to=browser.search <|constrain|>json<|message|>{}<|call|>", content="{}"),
]  # fmt: skip

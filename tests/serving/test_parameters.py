"""What clients send: taken, clamped or refused by name, and nothing that changes the answer ignored."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ftllm_nb.serving.foreign_fields import HARMLESS, REFUSED, check_foreign
from ftllm_nb.serving.protocol import ChatRequest, CompletionRequest
from tests.serving.server_process import ServerProcess

SUM = [{"role": "user", "content": "What is 17 + 25?"}]
TOOL = {"type": "function", "function": {"name": "f"}}
PROMPT = "The capital of France is"
CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"


@pytest.fixture(scope="module")
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as http:
        yield http


def complete(http: httpx.Client, **body: Any) -> dict[str, Any]:
    response = http.post(COMPLETE, json={"prompt": PROMPT, "temperature": 0, **body})
    assert response.status_code == 200, response.text
    return dict(response.json())


def refusal(http: httpx.Client, path: str, **body: Any) -> tuple[str, str]:
    asked = {"messages": SUM} if path == CHAT else {"prompt": PROMPT}
    # httpx would not write half of a character.
    response = http.post(path, content=json.dumps({**asked, **body}), headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    return str(error["param"]), error["message"]


def wait_for_line(server: ServerProcess, **expected: Any) -> None:
    """Until the log has a line that says this."""
    server.wait_for_log(lambda line: all(line.get(name) == value for name, value in expected.items()))


@pytest.mark.parametrize("body, same_as", [
    ({"max_tokens": 4.0}, {"max_tokens": 4}),
    ({"n_predict": 4}, {"max_tokens": 4}),
    ({"max_tokens": -1}, {"max_tokens": 1000}),
    ({"max_tokens": 2**31 - 1}, {"max_tokens": 1000}),
    ({"max_tokens": 10**30}, {"max_tokens": 1000}),
    ({"suffix": "", "best_of": 1, "stop": None, "top_k": None, "logit_bias": None, "stream_options": None}, {}),
    ({"n": 1.0, "top_k": 0.0, "logprobs": None, "stream_options": {"include_usage": True}}, {}),
    ({"repeat_penalty": 1.5}, {"repetition_penalty": 1.5}),
    ({"logit_bias": [[5, -100], [6.0, False]]}, {"logit_bias": {"5": -100, "6": -100}}),
    ({"logit_bias": {"300": 5000}}, {"logit_bias": {"300": 100}}),
    ({"temperature": 5, "top_k": 1}, {}),
    ({"typical_p": 1.0, "mirostat": 0, "cache_prompt": True, "repeat_last_n": -1, "lora": [], "samplers": None}, {}),
    ({"do_sample": False, "temperature": None}, {}),
    ({"unheard_of": 5}, {}),
])  # fmt: skip
def test_what_means_the_same(http: httpx.Client, body: dict[str, Any], same_as: dict[str, Any]) -> None:
    def text(of: dict[str, Any]) -> str:
        return str(complete(http, **of)["choices"][0]["text"])

    assert text(body) == text(same_as)


@pytest.mark.parametrize("path, body, param, words", [
    (COMPLETE, {"suffix": "y"}, "suffix", "between two others"),
    (COMPLETE, {"best_of": 3}, "best_of", "n says"),
    (COMPLETE, {"max_tokens": -3}, "max_tokens", "greater than"),
    (COMPLETE, {"max_tokens": 4.5}, "max_tokens", "integer"),
    (COMPLETE, {"max_tokens": 4, "min_tokens": 5}, "min_tokens", "more than max_tokens"),
    (COMPLETE, {"prompt": ["x"] * 129}, "prompt", "at most 128 prompts"),
    (COMPLETE, {"prompt": 5}, "prompt", "a text, token ids"),
    (COMPLETE, {"prompt": [[5]] * 129}, "prompt", "at most 128 prompts"),
    (COMPLETE, {"prompt": []}, "prompt", "an empty list: it must be a text, token ids, or a list of either"),
    (COMPLETE, {"prompt": [-1]}, "prompt.0", "greater than"),
    (COMPLETE, {"prompt": ["x", 5]}, "prompt.1", "string"),
    (COMPLETE, {"prompt": [5, "x"]}, "prompt.1", "integer"),
    (COMPLETE, {"prompt": [[5, "x"]]}, "prompt.0.1", "integer"),
    (COMPLETE, {"stop_token_ids": [99999]}, "stop_token_ids", "no token id 99999"),
    (CHAT, {"stop_token_ids": [5, 99999]}, "stop_token_ids", "no token id 99999"),
    (CHAT, {"messages": [{"role": "user"}]}, "messages.0.content", "must have content"),
    (CHAT, {"messages": [{"role": "system", "content": None}, *SUM]}, "messages.0.content", "must have content"),
    (CHAT, {"thinking": "maybe"}, "thinking", "true, false, or an object"),
    (CHAT, {"tools": [TOOL, TOOL]}, "tools", "number 1 has the name 'f' of number 0"),
    ("/tokenize", {"messages": SUM, "prompt": None, "tools": [TOOL, TOOL]}, "tools", "number 1 has the name 'f'"),
    (CHAT, {"tool_choice": 5}, "tool_choice", "'none', 'auto', 'required', or an object"),
    (CHAT, {"tool_choice": {"type": "x"}}, "tool_choice", "'function' or 'allowed_tools'"),
    (CHAT, {"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.allowed_tools", "is required"),
    (COMPLETE, {"stop": ["x"] * 65}, "stop", "at most 64"),
    (COMPLETE, {"logit_bias": [[5]]}, "logit_bias", "pairs"),
    (COMPLETE, {"logit_bias": [["x", 5]]}, "logit_bias", "token ids"),
    (COMPLETE, {"logit_bias": {"5": "x"}}, "logit_bias.5", "number"),
    (COMPLETE, {"mirostat": 2}, "mirostat", "not offered"),
    (COMPLETE, {"typical_p": 0.5}, "typical_p", "not offered"),
    (COMPLETE, {"repeat_last_n": 64}, "repeat_last_n", "write -1"),
    (COMPLETE, {"repetition_penalty": 1.1, "repeat_penalty": 1.2}, "repeat_penalty", "another name"),
    (COMPLETE, {"tools": [{"type": "function"}]}, "tools", "/v1/chat/completions"),
    (COMPLETE, {"echo": True, "logprobs": 20, "prompt": [[5] * 1000] * 60}, "prompt", "ask for fewer"),
    (COMPLETE, {"enable_thinking": True}, "enable_thinking", "/v1/chat/completions"),
    (CHAT, {"echo": True}, "echo", "/v1/completions"),
    (CHAT, {"functions": [{"name": "f"}]}, "functions", "write tools"),
    (CHAT, {"options": {"temperature": 1}}, "options", "beside it"),
    (CHAT, {"extra_body": {"top_k": 1}}, "extra_body", "beside it"),
    (COMPLETE, {"prompt": [5] * 2000}, "prompt", "the prompt has 2000 tokens"),
    (COMPLETE, {"prompt": "a" * 2_000_000}, "prompt", "the prompt has 2000000 characters"),
    (CHAT, {"messages": [{"role": "user", "content": "a b " * 2000}]}, "messages", "tokens"),
    ("/detokenize", {"prompt": None, "tokens": [5, 10**6]}, "tokens", "no token id 1000000"),
    (CHAT, {"tools": [5]}, "tools.0", "tools.0: it must be an object."),
    (CHAT, {"stream_options": 5}, "stream_options", "it must be an object"),
    (CHAT, {"chat_template_kwargs": []}, "chat_template_kwargs", "it must be an object"),
    (CHAT, {"messages": ["x"]}, "messages.0", "it must be an object"),
    (CHAT, {"user": "\ud800"}, "user", "half of a character"),
    (CHAT, {"add_generation_prompt": False}, "add_generation_prompt", "must begin"),
    (CHAT, {"prompt_logprobs": 1}, "prompt_logprobs", "echo and logprobs"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(
    http: httpx.Client, path: str, body: dict[str, Any], param: str, words: str
) -> None:
    named, message = refusal(http, path, **body)
    assert named == param and words in message and message.endswith(".")


def test_every_foreign_field_is_a_sentence_with_any_value() -> None:
    assert not HARMLESS & set(REFUSED)
    for name, field in REFUSED.items():
        assert check_foreign({name: None}) == [] and all(check_foreign({name: one}) == [] for one in field.harmless)
        with pytest.raises(Exception, match=rf"^{name} .*\.$"):
            check_foreign({name: {"x": 1}})
    known_twice = (set(ChatRequest.model_fields) & set(CompletionRequest.model_fields)) & (set(REFUSED) | HARMLESS)
    assert not known_twice, "what both bodies declare never comes here"


def test_a_field_that_nobody_knows_is_named_in_the_log(http: httpx.Client, server: ServerProcess) -> None:
    complete(http, zanzibar=1, max_tokens=1)
    wait_for_line(server, ignored_fields=["zanzibar"])


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_echo_gives_the_prompts_logprobs(http: httpx.Client, max_tokens: int) -> None:
    """As evaluation harnesses ask for it: the sum over a continuation's tokens, whatever the cache holds."""
    ids = http.post("/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    bodies: list[dict[str, Any]] = [{"prompt": PROMPT}, {"prompt": ids}, {"prompt": [ids, ids[:3]]}]
    for body in bodies:
        answer = complete(http, **body, max_tokens=max_tokens, echo=True, logprobs=1)
        choice = answer["choices"][0]
        found = choice["logprobs"]
        assert choice["text"].startswith(PROMPT) and choice["finish_reason"] == "length"
        assert len(found["tokens"]) == len(ids) + max_tokens and set(map(len, found.values())) == {len(found["tokens"])}
        assert found["token_logprobs"][0] is None and found["top_logprobs"][0] is None
        assert "".join(found["tokens"]) == choice["text"]
        assert answer["usage"]["completion_tokens"] == max_tokens * len(answer["choices"])
        for token, offset in zip(found["tokens"], found["text_offset"], strict=True):
            assert choice["text"][offset:].startswith(token)
        # Each is what the same place gives when its token is to be chosen.
        for end in range(1, len(ids)):
            biased = {"prompt": ids[:end], "max_tokens": 1, "logprobs": 1, "logit_bias": {str(ids[end]): 100}}
            token = complete(http, **biased)["choices"][0]["logprobs"]
            assert token["token_logprobs"][0] == found["token_logprobs"][end]
            assert token["top_logprobs"][0] == found["top_logprobs"][end]


def test_logprobs_as_chats_ask_for_them(http: httpx.Client) -> None:
    one, true, false = (
        complete(http, max_tokens=2, logprobs=value)["choices"][0]["logprobs"] for value in (1, True, False)
    )
    assert one == true and false is None


def test_echo_without_logprobs_and_as_a_stream(http: httpx.Client) -> None:
    whole = complete(http, echo=True, max_tokens=3)["choices"][0]["text"]
    assert whole == PROMPT + complete(http, max_tokens=3)["choices"][0]["text"]
    body = {"prompt": PROMPT, "temperature": 0, "echo": True, "max_tokens": 3, "logprobs": 0, "stream": True}
    lines = http.post(COMPLETE, json=body).text.split("\n\n")
    assert f'"text":"{PROMPT}"' in lines[0] and '"token_logprobs":[null,' in lines[0]


def test_a_long_prompt_is_judged_in_bounded_steps(http: httpx.Client) -> None:
    ids = [7 + number % 50 for number in range(1000)]
    found = complete(http, prompt=ids, max_tokens=1, echo=True, logprobs=5)["choices"][0]["logprobs"]
    assert len(found["token_logprobs"]) == 1001 and all(map(math.isfinite, found["token_logprobs"][1:]))


def test_answers_that_must_go_on(http: httpx.Client) -> None:
    chat = {"messages": SUM, "temperature": 0}
    free = http.post(CHAT, json=chat).json()
    assert free["usage"]["completion_tokens"] < 10 and free["choices"][0]["finish_reason"] == "stop"
    for more in ({"min_tokens": 20, "max_tokens": 30}, {"ignore_eos": True, "max_tokens": 30}):
        answer = http.post(CHAT, json={**chat, **more}).json()
        assert 20 <= answer["usage"]["completion_tokens"] <= 30
    stopped = http.post(CHAT, json={**chat, "min_tokens": 20, "max_tokens": 30, "stop": "4"}).json()
    assert stopped["usage"]["completion_tokens"] >= 20, "a stop string does not end it sooner, either"
    first = http.post("/tokenize", json={"prompt": free["choices"][0]["message"]["content"]}).json()["tokens"]
    ended = http.post(CHAT, json={**chat, "stop_token_ids": [first[-1]]}).json()
    assert ended["usage"]["completion_tokens"] == len(first) - 1


@pytest.mark.parametrize("path, more", [(CHAT, {"messages": SUM}), (COMPLETE, {"prompt": PROMPT})])
def test_an_answer_that_repeats_itself_ends_and_says_so(
    http: httpx.Client, server: ServerProcess, path: str, more: dict[str, Any]
) -> None:
    body = {**more, "temperature": 0, "logit_bias": {"300": 100}, "max_tokens": 400}
    answer = http.post(path, json=body).json()
    assert answer["usage"]["completion_tokens"] == 160
    choice = answer["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "repetition")
    assert '"stop_reason":"repetition"' in http.post(path, json={**body, "stream": True}).text
    wait_for_line(server, path=path, finish_reason="loop")
    for off in ({"stop_loops": False}, {"ignore_eos": True}):
        assert http.post(path, json={**body, **off}).json()["usage"]["completion_tokens"] == 400


def test_a_completions_control_tokens_are_control_tokens(http: httpx.Client) -> None:
    prompt = "<|im_start|>user\nWhat is 17 + 25?<|im_end|>\n<|im_start|>assistant\n"
    answer = complete(http, prompt=prompt)
    assert answer["choices"][0]["text"].strip() == "42"
    spelled = complete(http, prompt=prompt, parse_special=False)
    assert spelled["usage"]["prompt_tokens"] > answer["usage"]["prompt_tokens"]


def test_a_seed_of_minus_one_is_none(http: httpx.Client) -> None:
    body = {"prompt": "Once", "temperature": 2.5, "top_p": 1, "min_p": 0, "max_tokens": 20}
    texts = {http.post(COMPLETE, json={**body, "seed": -1}).json()["choices"][0]["text"] for _ in range(3)}
    assert len(texts) > 1
    texts = {http.post(COMPLETE, json={**body, "seed": -2}).json()["choices"][0]["text"] for _ in range(3)}
    assert len(texts) == 1

"""What each slash command does, without a terminal."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from ftllm_nb import llm
from ftllm_nb.cli.talk.commands import LeaveRepl, commands
from ftllm_nb.cli.talk.prompt import CommandCompleter
from ftllm_nb.cli.talk.repl import is_command, is_open, unquoted
from ftllm_nb.cli.talk.toolbar import toolbar
from tests.cli.scripted_chat import ScriptedModel
from tests.cli.talk_on_text import Talk


def test_the_commands_are_those_that_were_promised() -> None:
    promised = "help clear regen undo edit system set show save load read export stats profile exit"
    assert sorted(promised.split()) == list(commands())
    assert all(command.summary and "\n" not in command.summary for command in commands().values())


def test_help_names_every_command(talk: Talk) -> None:
    text = talk.say("/help")
    assert all(f"\n{command.usage}" in f"\n{text}" for command in commands().values())


@pytest.mark.parametrize("word", ["help", "?", "/?", "/h"])
def test_words_that_ask_for_help(talk: Talk, word: str) -> None:
    assert talk.say(word) == talk.say("/help")


def test_clear_and_fastllms_word_for_it(talk: Talk) -> None:
    for word in ("/clear", "clear", " clear "):
        talk.say("one")
        assert "forgotten" in talk.say(word)
        assert talk.repl.conversation.turns == []


@pytest.mark.parametrize(
    "word", ["/exit", "stop", " stop ", "/EXIT", "exit", "Quit", "quit()", ":q", "/q", "/quit", "/bye"]
)
def test_leaving(talk: Talk, word: str) -> None:
    with pytest.raises(LeaveRepl):
        talk.say(word)


def test_undo_and_regen(talk: Talk) -> None:
    talk.say("/set temperature 0")
    talk.say("one")
    talk.say("two")
    assert "the same answer, since the likeliest words are taken" in talk.say("/regen")
    talk.say("/set temperature 1")
    assert talk.say("/regen") == "3 two\n"
    talk.say("/set seed 5")
    assert "the same answer, since the seed is 5" in talk.say("/regen")
    assert talk.say("/undo") == "(taken back: two)\n"
    assert talk.say("three") == "3 three\n"
    talk.say("/clear")
    for command in ("/undo", "/regen"):
        assert talk.say(command) == "error: the conversation has no turn yet.\n"


def test_edit_asks_what_the_editor_leaves(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor = tmp_path / "my editor.py"
    editor.write_text("import sys; file = open(sys.argv[1], 'a'); file.write(' and more\\nlines\\n')")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{editor}'")
    assert talk.say("/edit some text") == "some text and more\nlines\n1 some text and more\nlines\n"
    editor.write_text("")
    assert "nothing is asked" in talk.say("/edit")
    editor.write_text("raise SystemExit(3)")
    assert "ended with status 3" in talk.say("/edit")
    monkeypatch.setenv("EDITOR", "/no/such/editor")
    assert "cannot be run" in talk.say("/edit")
    monkeypatch.setenv("EDITOR", "'")
    assert "cannot be run" in talk.say("/edit")


def test_system(talk: Talk) -> None:
    assert "no system message" in talk.say("/system")
    assert talk.say("/system be brief") == "(system message: be brief)\n"
    assert talk.say("one") == "2 one\n"
    assert talk.say("/system") == "(system message: be brief)\n"
    assert "no system message" in talk.say("/system default")
    assert talk.say("two") == "3 two\n"


def test_set_and_show(talk: Talk) -> None:
    assert talk.say("/set temperature 0.5") == "(temperature is 0.5, from /set)\n"
    assert talk.say("/set top-k=3") == "(top_k is 3, from /set)\n"
    assert talk.say("/set enable_thinking on") == "(enable_thinking is on)\n"
    assert "('enable_thinking', True)" in talk.say("options") and "('top_k', 3)" in talk.say("options")
    shown = talk.say("/show")
    assert re.search(r"temperature +0.5, from /set\n", shown)
    assert re.search(r"top_p +0.9, from the model's generation_config.json\n", shown)
    assert re.search(r"top_k +3, from /set\n", shown) and re.search(r"seed +another each time\n", shown)
    assert re.search(r"model +demo\n", shown) and "2 turns" in shown
    assert talk.say("/set temperature default") == "(temperature is 0.8, from ftllm-nb's own defaults)\n"
    assert talk.say("/set seed 12345678") == "(seed is 12345678, from /set)\n"
    talk.say("/set temperature 0")
    assert "temperature 0 leaves no choice" in talk.say("/set top_p 0.5")
    assert talk.say("/set markdown off") == "(markdown is off)\n"


def test_thinking_is_shown_hidden_and_switched(talk: Talk) -> None:
    assert talk.say("/set think") == talk.say("/set think on") == "(enable_thinking is on)\n"
    assert talk.say("/set nothink") == talk.say("/set think off") == "(enable_thinking is off)\n"
    assert "('enable_thinking', False)" in talk.say("options")
    assert talk.say("/set think default") == "(enable_thinking is as the chat template does)\n"
    assert "enable_thinking" not in talk.say("options")
    assert talk.say("/set think hide") == "(hide_thinking is on)\n" and talk.say("think") == "so\n"
    assert "(the answer ended while the model was thinking: /set think show" in talk.say("only thinking")
    assert talk.say("/set think show") == "(hide_thinking is off)\n"
    assert talk.say("only thinking") == "<think>hm\n"
    assert "/set think takes on, off, default, show, hide" in talk.say("/set think maybe")
    assert completions(talk, "/set think s") == ["/set think show"]


def test_a_template_without_a_switch_for_thinking_says_so(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    for template, knows in (
        ("{{ message.thinking }}{{ message['thinking'] }}", False),
        ("{% if thinking is defined and thinking %}", True),
        ("{% if enable_thinking %}", True),
    ):
        monkeypatch.setattr(ScriptedModel.tokenizer, "template_source", template)
        assert ("no chat template with such a switch: nothing changes" in talk.say("/set think on")) != knows


def test_thinking_is_saved_apart_and_exported_as_a_quotation(talk: Talk, tmp_path: Path) -> None:
    talk.say("think")
    talk.say(f"/save {tmp_path}/saved")
    talk.say(f"/export {tmp_path}/text.md")
    message = json.loads((tmp_path / "saved").read_text())["messages"][1]
    assert message == {"role": "assistant", "content": "so", "reasoning_content": "hm"}
    assert "\n## demo\n\n> hm\n\nso\n" in (tmp_path / "text.md").read_text()
    other = Talk()
    assert other.say(f"/load {tmp_path}/saved").endswith("> think\n<think>\nhm\n</think>\n\nso\n")
    assert other.repl.conversation.messages == talk.repl.conversation.messages


@pytest.mark.parametrize(
    "line, says",
    [
        ("/set", "needs more: /set NAME VALUE."),
        ("/set warmth 1", "'warmth' is no setting; known are temperature, top_p"),
        ("/set temprature 1", "(did you mean temperature?)"),
        ("/set temperature", "needs a value, as in /set temperature 0."),
        ("/set temperature hot", "temperature: a number of at least 0 is expected, not 'hot'."),
        ("/set top_k 1.5", "a whole number"),
        ("/set markdown maybe", "on or off is expected"),
        ("/set markdown default", "on or off is expected"),
        ("/stast", "unknown command /stast (did you mean /stats?); /help lists them."),
        ("/retry", "unknown command /retry (/regen answers the last question again); /help lists them."),
        ("/reset", "(/clear forgets the conversation)"),
        ("/stop", "(/exit leaves, Ctrl-C stops an answer)"),
        ("/undo!", "/undo asks nothing back: leave out the exclamation mark."),
        ("/clear all", "/clear takes nothing after it, but 'all' was given."),
        ("/save", "/save needs more: /save FILE."),
        ("/load nowhere.json", "nowhere.json cannot be read: No such file or directory."),
        ("/read /", "/ is a folder: name a file, or /* for those in it."),
        ("/read /dev/zero", "/dev/zero is no plain file"),
        ("/load /bin/sh", "/bin/sh is no text but a binary file"),
        ("/save /no/such/folder/file", "cannot be written: No such file or directory."),
    ],
)
def test_wrong_use_is_one_sentence_and_the_session_goes_on(talk: Talk, line: str, says: str) -> None:
    text = talk.say(line)
    assert text.startswith("error: ") and text.count("\n") == 1 and says in text
    assert talk.say("one") == "1 one\n"


def test_stats(talk: Talk) -> None:
    assert talk.say("/stats") == "(no answer yet)\n"
    talk.say("one")
    talk.say("two")
    text = talk.say("/stats")
    assert "11 tokens: 8 reused from the cache, 3 read" in text
    assert "first token" in text and "2 answers, 10 tokens, 8 reused" in text
    # Half a second of reading is no answering.
    assert re.search(r"reading +0.50 s, 6.0 tokens/s \(prefill\)\n", text)
    assert re.search(r"answering +0.25 s, 16.0 tokens/s \(decode\)\n", text)


def test_an_answer_that_repeats_itself_says_so_once(talk: Talk) -> None:
    assert "(ended, since the answer only repeated itself: /regen answers again" in talk.say("loop")
    assert "ended, since it only repeated itself" in talk.say("/stats")
    assert "repeated" not in talk.say("one")


def test_what_came_during_an_answer_is_shown_after_it(talk: Talk) -> None:
    talk.repl.warnings.append("the memory is too small")
    assert talk.say("one").endswith("(the memory is too small)\n")
    assert "memory" not in talk.say("two")


def test_profile_of_the_bundled_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftllm_nb.benchmark import profile
    from ftllm_nb.benchmark.limits import MachineLimits

    limits = MachineLimits(threads=1, read_bytes=1, read_gb_per_s=10.0, fma_gflop_per_s=100.0, dot_gop_per_s=None)
    monkeypatch.setattr(profile, "measure_limits", lambda threads, size: limits)
    with llm.model("demo", threads=1) as model:
        talk = Talk(model)
        text = talk.say("/profile")
    assert "ms a token" in text and "Attention" in text and "% of read" in text
    with llm.model("demo", threads=1, engine="reference") as model:
        assert "this is the reference" in Talk(model).say("/profile")


SAFE = [name for name in commands() if name not in ("edit", "exit", "export", "profile", "save")]
LINES = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=30),
    st.builds("/{} {}".format, st.sampled_from(SAFE), st.text(st.characters(exclude_categories=[]), max_size=20)),
    st.sampled_from(["/read \0", "/load /dev/zero", "/load .", "/set seed " + "9" * 5000, "/", "//", '"""', "x" * 101]),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=6))
@example(["/load ~no_such_user", "/read ~no_such_user"])
def test_no_line_ends_the_session(lines: list[str]) -> None:
    talk = Talk()
    for line in lines:
        if line.strip().lower() not in ("stop", "count", "slow"):
            talk.repl.handle(line)
    assert "a defect of ftllm-nb" not in talk.out.getvalue()
    talk.say("/clear")
    talk.say("/system default")
    assert talk.say("fine") == "1 fine\n"


def test_a_defect_keeps_the_session(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk.repl.conversation, "undo", lambda: 1 // 0)
    assert talk.say("/undo").startswith("error: unexpected ZeroDivisionError")
    assert talk.say("one") == "1 one\n"


def test_what_is_a_command() -> None:
    assert all(map(is_command, ["/help", " /set a b", "/nonsense", "/system what / how"]))
    assert not any(map(is_command, ["help", "/usr/bin is what?", "/ 2", "/read this\nand this", "1 /2"]))


def test_quotes() -> None:
    assert [is_open(text) for text in ('"""', '"""a', 'a"""', '"""a"""', '""""""', 'a', '""')] == [
        True, True, False, False, False, False, False
    ]  # fmt: skip
    assert unquoted('"""\na\nb\n"""') == "a\nb" and unquoted(" a ") == " a "


def completions(talk: Talk, text: str) -> list[str]:
    found = CommandCompleter(talk.repl).get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + each.start_position] + each.text for each in found]


def test_completion(talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.md").write_text("")
    monkeypatch.chdir(tmp_path)
    assert completions(talk, "/s") == ["/save ", "/set ", "/show", "/stats", "/system "]
    assert completions(talk, "/set te") == ["/set temperature "]
    assert completions(talk, "/set markdown o") == ["/set markdown on", "/set markdown off"]
    assert completions(talk, "/read no") == ["/read notes.md"]
    assert completions(talk, "/undo ") == completions(talk, "what") == completions(talk, "/nothing x") == []


def test_the_toolbar_fits_every_width(talk: Talk) -> None:
    talk.say("one")
    full = toolbar(talk.repl, 200)
    assert full == "demo | float32, 2 threads | 8/100000 tokens | 16.0 tokens/s"
    for columns in range(1, 200):
        assert len(toolbar(talk.repl, columns)) < max(columns, 1) or columns <= len(full)
        assert len(toolbar(talk.repl, columns)) <= columns

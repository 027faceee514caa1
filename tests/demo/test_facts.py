"""What the bundled model was taught about ftllm-nb is true."""

from __future__ import annotations

import pytest
from facts import LATER, Fact, collect, first_clause, read_taught


def test_every_taught_answer_is_still_true() -> None:
    true_now = set(collect())
    stale = [fact for fact in read_taught() if fact not in true_now]
    assert not stale, (
        "the demo model gives answers that are no longer true; "
        f"examples/demo_model/README.md says how to teach it anew: {stale}"
    )


def test_facts_cover_commands_flags_and_operators() -> None:
    facts = {(fact.kind, fact.subject): fact.answer for fact in collect()}
    assert facts["flag", "-t"].startswith("--threads: ")
    assert facts["flag's commands", "--top_k"] == "--top_k is a flag of chat."
    assert facts["parameters", "RMSNorm"] == "RMSNorm takes input, weight, eps, output."
    assert facts["command", "chat"].startswith("chat: ")


def test_commands_that_came_later_are_no_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {(fact.kind, fact.subject): fact.answer for fact in collect()}
    monkeypatch.setattr("facts.LATER", {*LATER, "quantize"})
    later = {(fact.kind, fact.subject): fact.answer for fact in collect()}
    assert "quantize" in known["commands", ""] and "quantize" not in later["commands", ""]
    assert "quantize" in known["flag's commands", "--custom"] and "quantize" not in later["flag's commands", "--custom"]
    assert ("flag", "--force") in known and ("flag", "--force") not in later


def test_a_flag_that_means_two_things_is_asked_for_by_command() -> None:
    subjects = {fact.subject: fact.answer for fact in collect() if fact.kind == "flag"}
    assert subjects["-p of bench"].startswith("--n_prompt: ")
    assert subjects["-p of chat"].startswith("--path: ")
    assert "-p" not in subjects


def test_a_recipe_that_the_parser_refuses_is_no_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facts.RECIPES", {"fly": "ftllm-nb chat --wings", "talk": "ftllm-nb chat"})
    assert [fact for fact in collect() if fact.kind == "recipe"] == [Fact("recipe", "talk", "ftllm-nb chat")]


def test_first_clause_leaves_out_asides() -> None:
    assert (
        first_clause("choose among the K likeliest tokens; 0 is no limit")
        == "choose among the K likeliest tokens"
    )
    assert first_clause("number of threads, 1 to 4 (default: all)") == "number of threads, 1 to 4"
    assert first_clause("the model: a folder") == "the model: a folder"
    assert first_clause("type of the weights: float32 or int8") == "type of the weights"

"""Questions about ftllm-nb: what it is, and the facts generated out of the program (facts.py)."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from .common import Conversation, Exchange, Ways

FACTS = json.loads(Path(__file__).parents[1].joinpath("facts.json").read_text(encoding="utf-8"))
WAYS = {
    "commands": Ways(
        "[What|Which] commands [are there|does ftllm-nb have|does it have|can I use|exist]?",
        "[List|Name|Tell me|Show] [the|all] commands[ of ftllm-nb|][.|]",
        "What are the commands[ of ftllm-nb|]?",
        "ftllm-nb有[哪些|什么]命令？",
    ),
    "command": Ways(
        "What does [the command |ftllm-nb |the command ftllm-nb ]{x} do?",
        "What [is|does] the {x} command[ for| do|]?",
        "What is [the command |ftllm-nb ]{x}[ for|]?",
        "[Explain|Tell me about|Describe] [the command |ftllm-nb ]{x}[.|]",
        "[Explain|Tell me about|Describe] the {x} command[.|]",
        "{x}命令[是什么|做什么|有什么用]？",
    ),
    "flag": Ways(
        "What does [the flag |the option |]{x} [do|mean]?",
        "What is [the flag |the option |]{x}[ for|]?",
        "What [is|does] the {x} [flag|option][ for| do|]?",
        "[Explain|Tell me about|Describe] [the flag |the option |]{x}[.|]",
        "[How do I use|What is the use of|When do I use] {x}?",
        "{x}[?|]",
        "{x}[是什么|是什么意思|有什么用|做什么]？",
    ),
    "flag's commands": Ways(
        "[Which|What] [command has|commands have] [the flag |]{x}?",
        "[Which|What] [command takes|commands take] {x}?",
        "Where can I use {x}?",
        "哪个命令有{x}？",
    ),
    "operator": Ways(
        "What does [the operator |]{x} [do|mean|compute]?",
        "What is [the operator |]{x}[ for|]?",
        "What does the {x} operator do?",
        "[Explain|Tell me about|Describe] [the operator |]{x}[.|]",
        "[Explain|Tell me about|Describe] the {x} operator[.|]",
        "{x}[?|]",
        "{x}[是什么|做什么|有什么用]？",
        "算子{x}[是什么|做什么]？",
    ),
    "parameters": Ways(
        "[What|Which] [parameters|arguments] does {x} [take|have|need]?",
        "What are the [parameters|arguments] of {x}?",
        "What does {x} take?",
        "How do I call {x}?",
        "[List|Name] the [parameters|arguments] of {x}[.|]",
        "{x}有[哪些|什么]参数？",
    ),
    "recipe": Ways(
        "How [do|can] I {x}[ with ftllm-nb|]?",
        "How to {x}[?|]",
        "[I want to|I would like to|How would I] {x}[.|]",
        "[Tell|Show] me how to {x}[.|]",
    ),
}
GENERAL = {
    "ftllm-nb is an inference engine for large language models on CPUs, written in Python.": Ways(
        "What is ftllm-nb?",
        "[Tell me about|Explain|Describe|Do you know] ftllm-nb[.|?]",
        "What does ftllm-nb do?",
        "[What kind of program is|What do you know about] ftllm-nb?",
        "What is this program?",
    ),
    "Numba compiles it while it runs.": Ways(
        "[What|Which library] compiles ftllm-nb?",
        "[Why|How] is ftllm-nb [fast|so fast]?",
        "How is ftllm-nb compiled?",
        "Does ftllm-nb use [Numba|numba]?",
    ),
    "In Python.": Ways(
        "[What|Which] language is ftllm-nb written in?", "[How|In which language] is ftllm-nb written?"
    ),
    "No, ftllm-nb runs on CPUs.": Ways(
        "Does ftllm-nb [need|use|require] a [GPU|graphics card]?",
        "Do I need a [GPU|graphics card][ for ftllm-nb| to run ftllm-nb|]?",
    ),
    "One Python file with a ComputeGraph and __model__ describes a model.": Ways(
        "How is a model described?",
        "[How do I write|How can I describe|What describes] a model[ in ftllm-nb|]?",
        "What is a custom [file|model]?",
        "What is a ComputeGraph?",
    ),
}


def sample(random: Random, held_out: bool) -> Conversation:
    if random.random() < 0.12:
        answer, ways = random.choice(list(GENERAL.items()))
        return [Exchange(ways.draw(random, held_out), answer)]
    fact = random.choice(FACTS)
    question = WAYS[fact["kind"]].draw(random, held_out).format(x=fact["subject"])
    return [Exchange(question, fact["answer"])]

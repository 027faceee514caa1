"""Dialogues for training, and held-out questions for checks, composed of the skills' exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from skills import load_skills
from skills.common import Conversation, Exchange, typed_freely

SKILLS = load_skills()
MEMORY = {"memory_of_name", "memory_of_number"}
SINGLE_TURN = [name for name in SKILLS if name not in MEMORY | {"nothing_told"}]
SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer briefly.",
    "Answer in one short sentence.",
    "You are the demo model of ftllm-nb.",
    "Be brief and exact.",
    "你是一个有用的助手。",
)
MANY_CHUNKS = (1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5)
Message = dict[str, str]


@dataclass(frozen=True)
class Check:
    """A held-out question: the messages up to it and the one right answer."""

    skill: str
    messages: list[Message]
    answer: str


def fill_gaps(skill: str, conversation: Conversation, random: Random) -> list[Exchange]:
    """The conversation with other exchanges of the training side in its gaps.

    Between a name and the question for it a number may be told, and the other way round.
    """
    others = sorted(MEMORY - {skill}) if skill in MEMORY else []
    filled: list[Exchange] = []
    for exchange in conversation:
        if exchange is None:
            if others and random.random() < 0.4:
                filler = SKILLS[others.pop()](random, False)[0]
            else:
                filler = SKILLS[random.choice(SINGLE_TURN)](random, False)[-1]
            assert filler is not None
            exchange = filler
        filled.append(exchange)
    return filled


def asks_for(exchange: Exchange) -> str:
    """The memory skill that could have answered an exchange of ``nothing_told``."""
    return "memory_of_name" if "name" in exchange.answer or "名字" in exchange.answer else "memory_of_number"


def training_dialogue(random: Random, weights: dict[str, float]) -> list[Message]:
    """Messages of one dialogue: one to five unrelated conversations of skills drawn by weight."""
    messages: list[Message] = []
    if random.random() < 0.08:
        messages.append({"role": "system", "content": random.choice(SYSTEM_MESSAGES)})
    told: set[str] = set()
    count = random.choice(MANY_CHUNKS) if random.random() < 0.99 else 16
    for skill in random.choices(list(weights), list(weights.values()), k=count):
        exchanges = fill_gaps(skill, SKILLS[skill](random, False), random)
        if skill == "nothing_told" and asks_for(exchanges[-1]) in told:
            continue
        told |= MEMORY if skill in MEMORY else set()
        for exchange in exchanges:
            question = typed_freely(exchange.question, random, exchange.any_case)
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": exchange.answer})
    return messages


def held_out_checks(skill: str, count: int, seed: int = 0) -> Iterator[Check]:
    """Different held-out questions of one skill; fewer than ``count`` where no more exist."""
    random = Random(f"{seed}:{skill}")
    seen: set[str] = set()
    for _ in range(20 * count):
        exchanges = fill_gaps(skill, SKILLS[skill](random, True), random)
        key = "\n".join(exchange.question for exchange in exchanges)
        if key in seen:
            continue
        seen.add(key)
        messages = []
        for exchange in exchanges[:-1]:
            messages.append({"role": "user", "content": exchange.question})
            messages.append({"role": "assistant", "content": exchange.answer})
        messages.append({"role": "user", "content": exchanges[-1].question})
        yield Check(skill, messages, exchanges[-1].answer)
        if len(seen) == count:
            return

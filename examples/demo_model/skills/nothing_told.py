"""A name or a number is asked for that nobody told: the model says so."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange
from .memory_of_name import ASK as ASK_NAME
from .memory_of_name import CHINESE_ASK as CHINESE_ASK_NAME
from .memory_of_number import ASK as ASK_NUMBER
from .memory_of_number import CHINESE_ASK as CHINESE_ASK_NUMBER

QUESTIONS = (
    (ASK_NAME, "You have not told me your name yet."),
    (ASK_NUMBER, "You have not told me a number yet."),
    (CHINESE_ASK_NAME, "你还没有告诉我你的名字。"),
    (CHINESE_ASK_NUMBER, "你还没有告诉我数字。"),
)


def sample(random: Random, held_out: bool) -> Conversation:
    ways, answer = random.choice(QUESTIONS)
    return [*[None] * random.choice((0, 0, 1, 2)), Exchange(ways.draw(random, held_out), answer)]

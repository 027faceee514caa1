"""Two hundred simple questions of five kinds, the same each time."""

from __future__ import annotations

_COUNTRIES = (
    "France Japan Italy Spain Egypt Brazil Canada Germany China India Russia Mexico Greece Norway Sweden Poland "
    "Portugal Turkey Kenya Peru Chile Cuba Iran Iraq Israel Ireland Austria Hungary Denmark Finland Belgium "
    "Switzerland Thailand Vietnam Indonesia Australia Argentina Colombia Morocco Nigeria"
).split()
_OPPOSITES = (
    "hot big fast light early happy old rich strong full open day up left near high loud hard dry sweet clean brave"
    " good long thick wide deep safe true win love begin push empty sharp smooth heavy tall dark cheap"
).split()
_THINGS = (
    "a violin|a thermometer|photosynthesis|gravity|a volcano|an island|a poem|a bridge|rain|a compass|a "
    "battery|money|a library|a dictionary|the moon|an atom|a planet|bread|an insect|a desert|a river|music|a "
    "computer|a hospital|a school|winter|a clock|a telescope|snow|an ocean|a vitamin|a map|a mirror|electricity|a "
    "calendar|a wheel|sleep|a camera|glass|paper"
).split("|")
_STARTS = (
    "Once upon a time|The sun rose|In the middle of the night|My best friend|The old house|A small "
    "bird|Yesterday|The train was late|In the garden|Our teacher|The king|A long journey|The doctor said|In "
    "winter|The first snow|At the market|The ship|A strange letter|Her brother|The young girl|On the hill|The "
    "cat|In the city|The farmer|A cold wind|The door opened|After dinner|The lost key|Near the river|The storm|An "
    "empty street|The last train|His answer|The quiet room|In the kitchen|The new neighbor|A loud noise|The "
    "forest|Before breakfast|The island"
).split("|")


def simple_questions(count: int) -> list[str]:
    """The first of them, kinds in turn."""
    kinds = [
        [f"What is the capital of {country}?" for country in _COUNTRIES],
        [f"What is {7 * at % 40 + 3} {'+-'[at % 2]} {5 * at % 29 + 1}?" for at in range(40)],
        [f'What is the opposite of "{word}"?' for word in _OPPOSITES],
        [f"What is {thing}? Answer in one sentence." for thing in _THINGS],
        [f'Continue the story: "{start} …"' for start in _STARTS],
    ]
    return [question for same in zip(*kinds, strict=True) for question in same][:count]

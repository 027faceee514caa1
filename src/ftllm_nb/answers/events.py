"""What an answer consists of, in the order in which it is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reasoning:
    """A piece of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True)
class Content:
    """A piece of the answer itself. `start`, `end`: which characters of the answer's stream it was made of."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class CallBegins:
    """A call of a function. `id`: the model's own name for the call, where its family has one."""

    name: str
    id: str | None = None


@dataclass(frozen=True)
class Arguments:
    """A piece of the arguments of the call that began last. All pieces together are a JSON object; less than one only
    where the answer was cut inside."""

    text: str


@dataclass(frozen=True)
class CallEnds:
    """The call that began last is whole."""


Event = Reasoning | Content | CallBegins | Arguments | CallEnds


def merged(events: list[Event]) -> list[Event]:
    """The same events, with neighbours that are pieces of one text in one piece."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, (Reasoning, Content, Arguments)) and not event.text:
            continue
        last = result[-1] if result else None
        if isinstance(event, Reasoning) and isinstance(last, Reasoning):
            result[-1] = Reasoning(last.text + event.text)
        elif isinstance(event, Arguments) and isinstance(last, Arguments):
            result[-1] = Arguments(last.text + event.text)
        elif isinstance(event, Content) and isinstance(last, Content):
            result[-1] = Content(last.text + event.text, last.start, event.end)
        else:
            result.append(event)
    return result

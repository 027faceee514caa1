"""The queue of waiting requests, fair between clients: start-time fair queueing.

Each request gets a virtual start: where its client's requests before it, at the cost of their tokens, end; but not
before the start of what left the queue last, so that nobody saves up. The earliest start goes first. A client who
sends a hundred requests delays its own, not another's.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from itertools import count

from ftllm_nb.engine.request import Request

_Place = tuple[int, int]


class FairQueue:
    """Waiting requests in the order in which they should begin."""

    def __init__(self) -> None:
        self._waiting: list[tuple[_Place, Request]] = []
        self._numbers = count()
        self._now = 0
        self._client_ends: dict[str, int] = {}
        self._places: dict[Request, _Place] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Request]:
        """In order; the queue may change meanwhile."""
        return iter([request for _, request in self._waiting])

    def push(self, request: Request) -> None:
        """Put a new request in, or one that has to wait again, which gets its old place."""
        place = self._places.get(request)
        if place is None:
            start = max(self._now, self._client_ends.get(request.client, 0))
            self._client_ends[request.client] = start + request.prompt_tokens
            place = self._places[request] = (start, next(self._numbers))
        insort(self._waiting, (place, request), key=lambda entry: entry[0])

    def take(self, request: Request) -> None:
        """Take a waiting request out, since it begins; `forget` it when it has ended."""
        self._waiting = [entry for entry in self._waiting if entry[1] is not request]
        self._now = max(self._now, self._places[request][0])
        # Clients that are not ahead of the present need no entry.
        self._client_ends = {client: end for client, end in self._client_ends.items() if end > self._now}

    def forget(self, request: Request) -> None:
        """The request has ended, waiting or not."""
        if self._places.pop(request, None) is not None:
            self._waiting = [entry for entry in self._waiting if entry[1] is not request]

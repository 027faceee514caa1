"""Where the boxes of a drawn graph stand: in ranks from top to bottom, with short and straight edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_GAP, _RANK_GAP = 22.0, 34.0
"""Between neighbours, and between ranks: edges turn there alone."""
_LONG, _LANE = 4, 16.0
"""Ranks from which on an edge goes around all that it passes, on the right, and the width of its lane there."""
_BEND_WIDTH = 10.0
"""Of the place through which an edge passes a rank."""
_SWEEPS = 12
_STRAIGHTNESS = 4.0
"""How much more than a box a bend of an edge keeps to its place."""

Edge = tuple[int, int]


@dataclass
class Spot:
    """A box, or a bend of an edge that passes its rank: its middle and size."""

    width: float
    height: float
    rank: int
    is_bend: bool = False
    x: float = 0.0
    y: float = 0.0
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """The boxes' places, each edge as the points that it goes through, and the size of all."""

    spots: list[Spot]
    paths: list[list[tuple[float, float]]]
    width: float
    height: float


def lay_out(sizes: Sequence[tuple[float, float]], edges: Sequence[Edge], late: Sequence[int] = ()) -> Layout:
    """Places for boxes of these sizes. `edges`: (from, to), each from an earlier box to a later one, without circles.
    `late`: boxes that stand as low as what they lead to lets them."""
    ranks = _ranks(len(sizes), edges, set(late))
    spots = [Spot(width, height, rank) for (width, height), rank in zip(sizes, ranks, strict=True)]
    long = {edge for edge in edges if ranks[edge[1]] - ranks[edge[0]] >= _LONG}
    routes = {edge: _route(spots, edge) for edge in edges if edge not in long}
    rows: list[list[int]] = [[] for _ in range(1 + max(ranks, default=0))]
    for number, spot in enumerate(spots):
        rows[spot.rank].append(number)
    _order(spots, rows)
    _place(spots, rows)
    left = min((spot.x - spot.width / 2 for spot in spots), default=0.0)
    for spot in spots:
        spot.x -= left
    bands = []
    top = 0.0
    for row in rows:
        height = max((spots[number].height for number in row), default=0.0)
        for number in row:
            spots[number].y = top + height / 2
        bands.append((top, top + height))
        top += height + _RANK_GAP
    ends = [max((spots[number].x + spots[number].width / 2 for number in row), default=0.0) for row in rows]
    lanes = _lanes(spots, sorted(long, key=lambda edge: ranks[edge[1]] - ranks[edge[0]]), ends)
    paths = [
        _path(spots, bands, edge, [(spots[each].x, spots[each].rank) for each in routes[edge][1:-1]])
        if edge in routes
        else _path(spots, bands, edge, [(lanes[edge], rank) for rank in range(ranks[edge[0]] + 1, ranks[edge[1]])])
        for edge in edges
    ]
    return Layout(spots[: len(sizes)], paths, max(ends, default=0.0), max(0.0, top - _RANK_GAP))


def _lanes(spots: list[Spot], edges: Sequence[Edge], ends: list[float]) -> dict[Edge, float]:
    """The x of each edge that goes around, the shorter ones nearer. `ends`: of each rank, which lanes make longer."""
    lanes = {}
    for start, end in edges:
        passed = range(spots[start].rank + 1, spots[end].rank)
        lanes[start, end] = max(ends[rank] for rank in passed) + _LANE
        for rank in passed:
            ends[rank] = lanes[start, end] + _LANE / 2
    return lanes


def _path(
    spots: list[Spot], bands: Sequence[tuple[float, float]], edge: Edge, bends: Sequence[tuple[float, int]]
) -> list[tuple[float, float]]:
    """Straight down through each rank, so that it turns only between them. `bends`: x and rank."""
    start, end = spots[edge[0]], spots[edge[1]]
    points = [(start.x, start.y + start.height / 2), (start.x, bands[start.rank][1])]
    for x, rank in bends:
        points += [(x, bands[rank][0]), (x, bands[rank][1])]
    points += [(end.x, bands[end.rank][0]), (end.x, end.y - end.height / 2)]
    points = [(round(x, 2), round(y, 2)) for x, y in points]
    return [point for place, point in enumerate(points) if not place or point != points[place - 1]]


def _ranks(count: int, edges: Sequence[Edge], late: set[int]) -> list[int]:
    """The longest way to each box; late ones move down to just above what they lead to."""
    ranks = [0] * count
    for start, end in sorted(edges, key=lambda edge: edge[1]):
        ranks[end] = max(ranks[end], ranks[start] + 1)
    for number in late:
        following = [ranks[end] for start, end in edges if start == number]
        if following:
            ranks[number] = min(following) - 1
    return ranks


def _route(spots: list[Spot], edge: Edge) -> list[int]:
    """The boxes that an edge joins, and new bends between them."""
    start, end = edge
    route = [start]
    for rank in range(spots[start].rank + 1, spots[end].rank):
        spots.append(Spot(_BEND_WIDTH, 0.0, rank, is_bend=True))
        route.append(len(spots) - 1)
    route.append(end)
    for upper, lower in pairwise(route):
        spots[upper].below.append(lower)
        spots[lower].above.append(upper)
    return route


def _order(spots: list[Spot], rows: list[list[int]]) -> None:
    """Each row by where its neighbours stand in the row before, downwards and upwards in turns."""
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        place = {number: share for row in rows for number, share in zip(row, _shares(len(row)), strict=True)}
        for row in rows if downwards else reversed(rows):
            wishes = {}
            for number in row:
                near = spots[number].above if downwards else spots[number].below
                wishes[number] = sum(place[each] for each in near) / len(near) if near else place[number]
            row.sort(key=wishes.__getitem__)
            place.update(zip(row, _shares(len(row)), strict=True))


def _shares(count: int) -> list[float]:
    """Evenly from 0 to 1."""
    return [0.5] if count == 1 else [at / (count - 1) for at in range(count)]


def _place(spots: list[Spot], rows: list[list[int]]) -> None:
    """The x of each spot: near the middle of its neighbours, with gaps kept."""
    for row in rows:
        x = 0.0
        for number in row:
            spots[number].x = x + spots[number].width / 2
            x += spots[number].width + _GAP
        for number in row:
            spots[number].x -= (x - _GAP) / 2
    for sweep in range(2 * _SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wishes = []
            for number in row:
                spot = spots[number]
                near = spot.above + spot.below
                wishes.append(sum(spots[each].x for each in near) / len(near) if near else spot.x)
            for number, x in zip(row, _apart([spots[number] for number in row], wishes), strict=True):
                spots[number].x = x


def _apart(row: list[Spot], wishes: list[float]) -> list[float]:
    """The places nearest to the wishes, in least squares, at which neighbours do not touch."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + _GAP)
    pools: list[tuple[float, float, int]] = []
    for spot, wish, offset in zip(row, wishes, offsets, strict=True):
        weight = _STRAIGHTNESS if spot.is_bend else 1.0
        total, count = weight * (wish - offset), 1
        while pools and pools[-1][0] / pools[-1][1] > total / weight:
            before = pools.pop()
            total, weight, count = total + before[0], weight + before[1], count + before[2]
        pools.append((total, weight, count))
    means = [total / weight for total, weight, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]

"""Another part of a tensor: of what is cut out of one axis."""

from __future__ import annotations

from collections.abc import Iterator

from ftllm_nb.verification.trial import Change, Ground, one_call, with_arguments

RANK = 12


def changes(ground: Ground) -> Iterator[Change]:
    """Each Split among the suspects, of as many features from elsewhere."""
    for call in ground.suspects:
        node = ground.node_of(call)
        if node is None or call.operator.name != "Split":
            continue
        axis, start, end = (int(node.attributes[name]) for name in ("axis", "start", "end"))
        size, whole = end - start, node.inputs["input"].type.shape[axis]
        for begin in range(0, int(whole) - size + 1, max(1, size)) if isinstance(whole, int) else ():
            if begin != start:
                yield one_call(
                    f"Split takes {start} to {end} of the axis; {begin} to {begin + size} makes them equal",
                    call,
                    lambda each, begin=begin, size=size: [  # type: ignore[misc]
                        with_arguments(each, start=begin, end=begin + size)
                    ],
                )

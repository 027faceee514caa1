"""A gate was computed, and nothing is multiplied by it."""

from __future__ import annotations

from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import DataReference
from ftllm_nb.verification.causes.missing import made
from ftllm_nb.verification.trial import Change, Ground, one_call

RANK = 6


def changes(ground: Ground) -> Iterator[Change]:
    """A product, with what nothing reads, of what a suspect reads."""
    read = {value for node in ground.graph.nodes for value in node.inputs.values()}
    for call in ground.suspects:
        node = ground.node_of(call)
        if node is None:
            continue
        newest = {
            value.name: value
            for earlier in ground.graph.nodes[: ground.graph.nodes.index(node)]
            for value in earlier.outputs.values()
        }
        unread = [name for name, value in newest.items() if value.kind == "data" and value not in read]
        for value in node.inputs.values():
            if value.kind == "data":
                yield from (_product(call, value.name, gate) for gate in unread if gate != value.name)


def _product(call: Call, name: str, gate: str) -> Change:
    factors = {"input0": DataReference(name), "input1": DataReference(gate)}
    return one_call(
        f'MulTo of data["{name}"] by data["{gate}"], which nothing reads, is missing before {call.operator.name}',
        call,
        lambda each: [made(each, "MulTo", **factors), each],
    )

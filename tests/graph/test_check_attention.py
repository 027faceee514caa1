"""Mistakes in an attention's arguments become one sentence with the user's file and line."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.graph.compute_graph import ComputeGraph
from tests.graph.small_graphs import HEAD_DIM, HIDDEN, TENSORS, Header, attend, begin, error_of, project


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"k": "pastKey"}, 'takes the cache "pastKey", whose name lacks the number of its layer'),
        ({"k": "keys.0"}, 'takes a cache for "k", such as data["pastKey."][i], but got data "keys.0"'),
        ({"v": "pastValue.1"}, 'takes the caches of two layers, "pastKey.0" and "pastValue.1"'),
        ({"v": "pastKey.0"}, 'takes the cache "pastKey.0", which FusedAttention (operator 7)'),
        ({"curk": "q"}, "curk has 6 heads, but curv has 2"),
        ({"q": "x"}, "q must have 4 axes, but it has 3"),
        ({"mask": "x"}, 'mask must be data["attentionMask"]'),
        ({"seqLens": "positionIds"}, 'seqLens must be data["seqLens"]'),
        ({"maskType": 1}, "maskType must be 0 (causal) or 2 (none), but it is 1"),
        ({"curk": "pastKey.1"}, 'takes data for "curk", but "pastKey.1" is a cache'),
    ],
)
def test_attention(changes: dict[str, Any], expected: str) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for name in ("q", "k", "v"):
            project(self, name)
        replaced = {name: self.data[new] if isinstance(new, str) else new for name, new in changes.items()}
        data = self.data
        names = {"q": "q", "k": "pastKey.0", "v": "pastValue.0", "curk": "k", "curv": "v", "original": "x"}
        names |= {"mask": "attentionMask", "output": "y", "seqLens": "seqLens"}
        arguments = {name: data[value] for name, value in names.items()} | {"scale": 0.5} | replaced
        self.FusedAttention(**arguments)  # wrong

    assert expected in error_of(build)


EARLIER = {"k": "pastKey.0", "v": "pastValue.0", "curk": None, "curv": None}
"""What an attention takes that reads the keys and values of layer 0."""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"curv": "v"}, "stores curk or curv alone: give both, or None for both"),
        ({"v": "pastValue.3"}, 'takes the caches of two layers, "pastKey.0" and "pastValue.3"'),
        ({"k": "pastKey.3", "v": "pastValue.3"}, "stores nothing, but no operator stores into them before"),
        ({"k": "pastKey.1", "v": "pastValue.1"}, "but FusedAttention (operator 11) at "),
        ({"k": "pastValue.0", "v": "pastKey.0"}, 'but layer 0 stores the caches "pastKey.0" and "pastValue.0"'),
        ({"q": "wide"}, "q has heads of 8, but the cache k of 4: "),
        ({"q": "odd"}, "the 2 heads of the cache k do not divide the 3 heads of q: "),
    ],
)
def test_attention_to_the_keys_of_another_layer(changes: dict[str, Any], expected: str) -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for name in ("q", "k", "v"):
            project(self, name)
        self.Split(self.data["q"], 2, 0, 3, self.data["odd"])
        self.Cat(self.data["q"], self.data["q"], 3, self.data["wide"])
        attend(self)
        data = self.data
        names = {"q": "q", **EARLIER, "original": "x", "mask": "attentionMask", "output": "z", "seqLens": "seqLens"}
        given = {name: None if new is None else data[new] for name, new in {**names, **changes}.items()}
        self.FusedAttention(**given, scale=0.5)  # wrong
        attend(self, k=data["pastKey.1"], v=data["pastValue.1"])

    assert expected in error_of(build)


def test_heads_that_do_not_divide() -> None:
    tensors = TENSORS | {"q.weight": Header((5 * HEAD_DIM, HIDDEN))}

    def build(self: ComputeGraph) -> None:
        begin(self)
        for name in ("q", "k", "v"):
            project(self, name)
        data = self.data
        self.FusedAttention(  # wrong
            data["q"],
            data["pastKey.0"],
            data["pastValue.0"],
            data["k"],
            data["v"],
            data["x"],
            data["attentionMask"],
            data["y"],
            data["seqLens"],
            1,
        )

    assert "the 2 heads of curk do not divide the 5 heads of q" in error_of(build, tensors=tensors)


def test_cache_of_another_layer_is_used_once() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for name in ("q", "k", "v"):
            project(self, name)
        attend(self)
        data = self.data
        self.FusedAttention(  # wrong
            data["q"],
            data["pastKey.0"],
            data["pastValue.1"],
            data["k"],
            data["v"],
            data["x"],
            data["attentionMask"],
            data["y"],
            data["seqLens"],
            1,
        )

    assert 'takes the cache "pastKey.0", which FusedAttention (operator 7) at ' in error_of(build)


def test_two_names_for_the_caches_of_a_layer() -> None:
    def build(self: ComputeGraph) -> None:
        begin(self)
        for name in ("q", "k", "v"):
            project(self, name)
        attend(self)
        data = self.data
        self.FusedAttention(  # wrong
            data["q"],
            data["pastKey_0"],
            data["pastValue_0"],
            data["k"],
            data["v"],
            data["x"],
            data["attentionMask"],
            data["y"],
            data["seqLens"],
            1,
        )

    assert error_of(build).endswith('takes the caches "pastKey_0" and "pastValue_0", but layer 0 is in use already.')

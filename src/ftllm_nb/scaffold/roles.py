"""What a tensor is for, as the words of its name say it: whatever a project calls its attention, gates and norms."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[A-Z]?[a-z]+\d*|[A-Z]+(?![a-z])\d*|\d+[a-z]*")
_ENDS = {"weight", "w", "kernel", "gamma", "g", "scale", "bias", "b", "beta"}
_BIASES = {"bias", "b", "beta"}
_NORM = {"norm", "ln", "layernorm", "rmsnorm", "rms"}
_ATTENTION = {"attn", "attention", "attend", "selfattn", "selfattention", "sa", "mha", "gqa", "att"}
_FORWARD = {"mlp", "ffn", "ff", "feed", "feedforward", "forward", "fc", "ffw", "ffwd", "glu"}
_QUERY, _KEY = {"q", "wq", "query", "queries", "qproj"}, {"k", "wk", "key", "keys", "kproj"}
_VALUE, _ALL = {"v", "wv", "value", "values", "vproj"}, {"qkv", "wqkv", "qkvproj"}
_GATE, _UP = {"gate", "gating", "w1", "gateproj"}, {"up", "w3", "fc1", "upproj"}
_DOWN = {"down", "w2", "fc2", "downproj"}
_OUT, _IN = {"o", "out", "output", "wo", "proj", "projection", "dense", "oproj"}, {"in", "fc", "intermediate"}
_EMBEDDING = {"embed", "embedding", "embeddings", "emb", "embd", "wte", "tok", "token", "tokens", "word", "words"}
_POSITION = {"pos", "position", "positions", "positional", "wpe"}
_HEAD = {"head", "lm", "unembed", "unembedding", "logits", "output", "out", "vocab", "lmhead"}
_FIRST, _SECOND = {"1", "first", "input", "in"}, {"2", "second"}


@dataclass(frozen=True)
class Role:
    """What a name says, "" where it does not: `what` it is; `part`: attention or forward; `side` of that: pre or post;
    `is_bias`; `words`: all of its words."""

    what: str
    part: str
    side: str
    is_bias: bool
    words: frozenset[str]

    def likeness(self, other: Role) -> float | None:
        """How much two names speak for the same tensor; None where they contradict each other."""
        if self.is_bias != other.is_bias:
            return None
        total = 0.0
        for mine, theirs, worth in ((self.what, other.what, 4.0), (self.part, other.part, 2.0)):
            if mine and theirs:
                if mine != theirs:
                    return None
                total += worth
        if self.side and other.side:
            total += 1.0 if self.side == other.side else -1.0
        return total + len(self.words & other.words) / max(1, len(self.words | other.words)) / 2


def words_of(text: str) -> list[str]:
    """The words of a name, in lower case; a number at the end of one is another word, too."""
    found: list[str] = []
    for match in _WORD.finditer(text):
        word = match.group().lower()
        found.append(word)
        letters = word.rstrip("0123456789")
        if letters and letters != word:
            found += [letters, word[len(letters) :]]
    return found


def role_of(name: str, is_in_layer: bool, norms: frozenset[str] = frozenset()) -> Role:
    """`name`: without what a layer's names begin with. `norms`: those of the layer beside it."""
    words = words_of(name)
    is_bias = bool(words) and words[-1] in _BIASES
    said = [word for word in words if word not in _ENDS]
    known = set(said)
    what, part, side = "", "", ""
    if is_in_layer:
        part = "attention" if known & _ATTENTION else "forward" if known & _FORWARD else ""
    if known & _NORM:
        what = "query norm" if known & _QUERY else "key norm" if known & _KEY else "norm"
        if what == "norm" and is_in_layer:
            part, side = _place(known, part, norms)
    elif is_in_layer:
        what, part = _matrix(name, said, known, part)
    elif known & _POSITION:
        what = "positions"
    elif known & {"embed", "embedding", "embeddings", "emb", "embd", "wte"}:
        what = "unembedding" if known & {"out", "output"} else "embedding"
    elif known & _HEAD:
        what = "unembedding"
    elif known & _EMBEDDING:
        what = "embedding"
    return Role(what, part, side, is_bias, frozenset(said))


def _place(known: set[str], part: str, norms: frozenset[str]) -> tuple[str, str]:
    """Of a layer's norm: which branch it belongs to, and on which side of it."""
    side = "post" if known & {"post", "after", "output", "out"} else "pre" if known & {"pre", "before", "input"} else ""
    if not part:
        part = "attention" if known & _FIRST else "forward" if known & _SECOND else ""
    others = [set(words_of(each)) for each in norms]
    if part == "attention" and side == "post" and len(others) == 1 and not others[0] & _FORWARD:
        return "forward", "pre"  # behind attention, and so before the feed-forward: Llama's name
    return part, side


def _matrix(name: str, said: list[str], known: set[str], part: str) -> tuple[str, str]:
    """Of a matrix of a layer, or its bias: what it is, and in which branch."""
    query, key, value = known & _QUERY, known & _KEY, known & _VALUE
    if known & _ALL or (query and key and value) or said[-2:] == ["c", "attn"]:
        return "queries, keys and values", "attention"
    if (query or key or value) and part != "forward":
        return "keys and values" if key and value else "queries" if query else "keys" if key else "values", "attention"
    if "4h_to_h" in name or known & _DOWN:
        return "down", "forward"
    if known & _GATE and known & _UP:
        return "gate and up", "forward"
    if "h_to_4h" in name or known & _UP:
        return "up", "forward"
    if known & _GATE and part != "attention":
        return "gate", "forward"
    if part == "attention" and known & _OUT:
        return "output", part
    if part == "forward" and known & _OUT:
        return "down", part
    if part == "forward" and known & _IN:
        return "up", part
    return ("output", "attention") if "wo" in known or "o" in known else ("", part)

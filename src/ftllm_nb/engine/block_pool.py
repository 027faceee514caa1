"""Which blocks of the KV cache are used, shared, kept for their prefix, or free.

A block is an int that its executor gives a meaning (an address, a number). Blocks are counted by reference, so that
sequences share what they have in common. A full block may be published under a key that stands for all tokens from
the sequence's beginning to the block's end (`chained_key`); nobody using it any more, it stays, to be found by the
next sequence that begins alike, until its place is needed: the block that was left longest ago goes first. Where there
is no limit, no place is ever needed, and at most as many are kept as are in use.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from ftllm_nb.errors import EngineError


class CacheFullError(EngineError):
    """No block is free, and none can be evicted: as many as may be are in use, or memory is out."""


@dataclass(frozen=True)
class BlockCounts:
    """`used`: blocks that sequences hold; `kept`: only kept for their prefix; `limit`: of both, None for no limit;
    `evicted`: kept blocks, since the beginning, whose place was needed; `free`: hold nothing."""

    used: int
    kept: int
    limit: int | None
    evicted: int
    free: int

    @property
    def made(self) -> int:
        """How many there are memory for."""
        return self.used + self.kept + self.free


class BlockPool:
    """`grow()` makes new blocks, at least one, or raises `CacheFullError` with a reason where memory is out.

    `limit`: most blocks in use and kept together, None for no limit; may be assigned.
    """

    def __init__(self, grow: Callable[[], Iterable[int]], limit: int | None = None) -> None:
        self.limit = limit
        self._grow = grow
        self._free: list[int] = []
        self._references: dict[int, int] = {}
        self._block_of: dict[bytes, int] = {}
        self._key_of: dict[int, bytes] = {}
        # Published blocks that nobody uses, the one that was left longest ago first.
        self._kept: OrderedDict[int, None] = OrderedDict()
        self._evicted = 0
        self._no_memory: tuple[int, CacheFullError] | None = None
        """Once memory was out: how many blocks there were, and what was said. It is tried again when none is in use."""

    @property
    def counts(self) -> BlockCounts:
        """How many blocks there are of each kind."""
        return BlockCounts(len(self._references), len(self._kept), self.limit, self._evicted, len(self._free))

    @property
    def available(self) -> int | None:
        """How many blocks `take` can give now, as far as is known; None where there is no limit."""
        limits = [] if self.limit is None else [self.limit]
        if self._no_memory is not None:
            limits.append(self._no_memory[0])
        return max(0, min(limits) - len(self._references)) if limits else None

    def why_full(self) -> CacheFullError:
        """What to say where `available` does not suffice."""
        if self._no_memory is not None:
            return self._no_memory[1]
        return CacheFullError("the KV cache is full: answers that are being made hold all of it.")

    def take(self) -> int:
        """A block with one reference; its content is undefined. Raises `CacheFullError`."""
        if self.limit is not None and len(self._references) + len(self._kept) >= self.limit:
            self._evict()
        if not self._free:
            try:
                self._free.extend(reversed(list(self._grow())))
            except CacheFullError as error:
                self._no_memory = len(self._references) + len(self._kept), error
                if not self._kept:
                    raise
                self._evict()
        block = self._free.pop()
        self._references[block] = 1
        return block

    def release(self, blocks: Iterable[int]) -> None:
        """Give one reference of each back; name them in the sequence's order, so that its end is evicted first."""
        for block in reversed(list(blocks)):
            self._references[block] -= 1
            if self._references[block]:
                continue
            del self._references[block]
            if block in self._key_of:
                self._kept[block] = None
            else:
                self._free.append(block)
        if not self._references:
            self._no_memory = None
        while self.limit is None and len(self._kept) > len(self._references):
            self._evict()

    def publish(self, block: int, key: bytes) -> None:
        """Let a block in use, which must not be written again, be found under `key`; the first under a key stays."""
        if block not in self._key_of and key not in self._block_of:
            self._block_of[key] = block
            self._key_of[block] = key

    def known(self, keys: Iterable[bytes]) -> int:
        """How many of the first keys are published: the first that is not ends the count."""
        return sum(1 for _ in takewhile(self._block_of.__contains__, keys))

    def acquire(self, keys: Iterable[bytes]) -> list[int]:
        """The blocks of published keys, with a reference to each."""
        found = [self._block_of[key] for key in keys]
        for block in found:
            self._kept.pop(block, None)
            self._references[block] = self._references.get(block, 0) + 1
        return found

    def is_alone(self, block: int) -> bool:
        """Whether one sequence alone has it."""
        return self._references.get(block) == 1

    def withdraw(self, block: int) -> None:
        """Let a block in use not be found any more; harmless where it could not."""
        key = self._key_of.pop(block, None)
        if key is not None:
            del self._block_of[key]

    def forget_all(self) -> bool:
        """Know no block any more, so that their memory may go; False, and no change, where one is in use."""
        if self._references:
            return False
        for known in (self._free, self._block_of, self._key_of, self._kept):
            known.clear()
        return True

    def _evict(self) -> None:
        if not self._kept:
            raise self.why_full()
        block, _ = self._kept.popitem(last=False)
        del self._block_of[self._key_of.pop(block)]
        self._free.append(block)
        self._evicted += 1


def chained_key(before: bytes, token_ids: Sequence[int]) -> bytes:
    """The key of a block that holds `token_ids`, after the block whose key is `before` (b"" for the first).

    A cryptographic hash, since a user who found two prompts of one key would read another's answer.
    """
    return hashlib.blake2b(before + array("i", token_ids).tobytes(), digest_size=32).digest()

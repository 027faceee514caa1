"""How far back what a layer keeps by position is still read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reach:
    """A token sees, of the positions up to its own, the last `window` ones, itself included, and only those in its own
    chunk of `chunk` positions; 0 is no limit."""

    window: int = 0
    chunk: int = 0

    @property
    def is_limited(self) -> bool:
        """Whether earlier positions go out of sight while a sequence grows."""
        return bool(self.window or self.chunk)

    def first_seen(self, position: int) -> int:
        """The first position that the token at `position` sees; those after it see none before."""
        first = max(0, position + 1 - self.window) if self.window else 0
        return max(first, position // self.chunk * self.chunk) if self.chunk else first

    def united(self, other: Reach) -> Reach:
        """The least reach that sees what either sees."""
        if self.is_limited and other.is_limited:
            if not (self.chunk or other.chunk):
                return Reach(window=max(self.window, other.window))
            if self == other:
                return self
        return Reach()

    def __str__(self) -> str:
        limits = [f"a window of {self.window}"] * bool(self.window) + [f"chunks of {self.chunk}"] * bool(self.chunk)
        return " and ".join(limits) or "all positions"

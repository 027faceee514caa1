"""config.json as build() is given it: a dict that remembers which of its entries were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class ReadConfig(dict[str, Any]):
    """Entries of config.json; `unread` are those that nobody looked up, took away or assigned.

    Whoever goes through all entries, or copies them, has read all. Copies and pickles are plain dicts.
    """

    def __init__(self, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self._read: set[str] = set()
        self._assigned: set[str] = set()

    @property
    def unread(self) -> dict[str, Any]:
        """The entries that nobody read."""
        return {name: value for name, value in dict.items(self) if name not in self._read}

    @property
    def read(self) -> dict[str, Any]:
        """The entries that somebody read and nobody assigned."""
        return {name: value for name, value in dict.items(self) if name in self._read - self._assigned}

    @property
    def absent(self) -> set[str]:
        """The names that somebody looked up and that are no entries."""
        return {name for name in self._read if not dict.__contains__(self, name)}

    def peek(self) -> dict[str, Any]:
        """All entries, none of which becomes read."""
        return dict(dict.items(self))

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self._read.add(name)
        self._assigned.add(name)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        self._read.add(name)
        super().__delitem__(name)

    def __iter__(self) -> Iterator[str]:
        # dict(config) and {**config} copy through this and __getitem__.
        return super().__iter__()

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.copy()

    def __ior__(self, other: Any) -> ReadConfig:  # type: ignore[override]
        self.update(other)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.copy(),)

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict's."""
        self._read.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """As a dict's."""
        self._read.add(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """As a dict's."""
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *others: Any, **more: Any) -> None:
        """As a dict's."""
        for name, value in dict(*others, **more).items():
            self[name] = value

    def items(self) -> Any:
        """As a dict's."""
        self._read.update(self)
        return super().items()

    def values(self) -> Any:
        """As a dict's."""
        self._read.update(self)
        return super().values()

    def copy(self) -> dict[str, Any]:
        """A plain dict."""
        return dict(self.items())

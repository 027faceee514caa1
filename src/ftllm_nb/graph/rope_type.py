"""What a rope type is, and how one reads its numbers from config.json; graph/rope_types/ has one file a type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import positive

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class RopeType(ABC):
    """How fast each pair of a head's numbers turns. Frozen, so that two tables can be compared.

    `base`: θ; `dim`: how many numbers of a head turn, twice the angles. sin and cos are multiplied by
    `attention_factor`.
    """

    base: float
    dim: int
    SMALLEST_DIM: ClassVar[int] = 2
    TURNS_WHOLE_HEADS: ClassVar[bool] = False
    """Whether its table has an angle for all of a head, also for the part that stands still."""

    @classmethod
    @abstractmethod
    def read(cls, entries: RopeEntries) -> RopeType:
        """The type as a config describes it. Raises `GraphError`."""

    @abstractmethod
    def frequencies(self, rows: slice) -> Floats:
        """Radians a position: float32 [angles], or [rows, angles] where they depend on the position."""

    @property
    def attention_factor(self) -> float:
        """What sin and cos are multiplied by."""
        return 1.0

    @property
    def note(self) -> str | None:
        """A sentence on what a user should know of this choice of frequencies."""
        return None


@dataclass(frozen=True)
class RopeEntries:
    """What describes one table: its section of config.json, the other entries, and the longest sequence.

    `kind`: the rope_type; `positions`: the longest sequence that will be computed; `seen`: entries of the section that
    were asked for.
    """

    section: Mapping[str, Any]
    config: Mapping[str, Any]
    kind: str
    positions: int
    seen: set[str] = field(default_factory=lambda: {"rope_type", "type", "rope_theta", "partial_rotary_factor"})

    @property
    def base(self) -> float:
        """`rope_base`, which a model's file assigns, else the section's `rope_theta`, else the config's, or 10000."""
        places = ((self.config, "rope_base"), (self.section, "rope_theta"), (self.config, "rope_theta"))
        given = [(source, name) for source, name in places if source.get(name) is not None]
        return positive(*given[0]) if given else 10000.0

    @property
    def head_dim(self) -> int:
        """The size of a head: the section's `head_dim`, where kinds of layers differ in it, else the config's."""
        self.seen.add("head_dim")
        return head_dim(self.config if self.section.get("head_dim") is None else self.section)

    @property
    def partial(self) -> float:
        """`partial_rotary_factor`: the part of a head that turns."""
        places = (self.section, self.config)
        given = [source for source in places if source.get("partial_rotary_factor") is not None]
        part = positive(given[0], "partial_rotary_factor") if given else 1.0
        if part > 1:
            raise GraphError(f"config.json's partial_rotary_factor must be at most 1, but it is {part:g}.")
        return part

    @property
    def dim(self) -> int:
        """How many numbers of a head turn."""
        return int(self.head_dim * self.partial)

    @property
    def angles(self) -> int:
        """Half of that: how many pairs of numbers turn."""
        return (self.dim + 1) // 2

    @property
    def context(self) -> float:
        """The context that the config names: `max_position_embeddings`, else `max_positions`."""
        names = ("max_position_embeddings", "max_positions")
        return positive(self.config, next((name for name in names if self.config.get(name) is not None), names[0]),
                        self._why)  # fmt: skip

    @property
    def original(self) -> float:
        """The context before it was stretched. The config's own entry goes before the section's, as in transformers;
        where neither is there, nothing was stretched.
        """
        self.seen.add("original_max_position_embeddings")
        for source in (self.config, self.section):
            if source.get("original_max_position_embeddings") is not None:
                return positive(source, "original_max_position_embeddings", self._why)
        return self.context

    def number(self, name: str) -> float:
        """A positive number of the section."""
        self.seen.add(name)
        return positive(self.section, name, self._why)

    def optional(self, name: str) -> float | None:
        """The same, None where it is absent or null."""
        return None if self._entry(name) is None else self.number(name)

    def or_default(self, name: str, default: float | None) -> float | None:
        """The same; 0, too, stands for the default, as in transformers."""
        number = self._entry(name)
        return default if number is None or (number == 0 and not isinstance(number, bool)) else self.number(name)

    def flag(self, name: str, default: bool) -> bool:
        """A true or false of the section."""
        value = self._entry(name, default)
        if not isinstance(value, bool):
            raise GraphError(f"config.json's {name} must be true or false{self._why}, but it is {shown(value)}.")
        return value

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """A list of `count` positive numbers of the section."""
        values = self._entry(name)
        if not isinstance(values, list) or len(values) != count:
            found = f"holds {len(values)}" if isinstance(values, list) else f"is {shown(values)}"
            raise GraphError(
                f"config.json's {name} must be a list of {count} numbers{self._why}, one an angle, but it {found}."
            )
        return tuple(positive({name: value}, name, self._why) for value in values)

    def unread(self) -> list[str]:
        """The section's entries that nothing asked for."""
        return sorted(set(self.section) - self.seen)

    def _entry(self, name: str, default: Any = None) -> Any:
        self.seen.add(name)
        return self.section.get(name, default)

    @property
    def _why(self) -> str:
        return f' for rope_type "{self.kind}"'


def head_dim(config: Mapping[str, Any]) -> int:
    """The size of an attention head: `head_dim`, or hidden_size // num_attention_heads."""
    if config.get("head_dim") is not None:
        return int(positive(config, "head_dim"))
    if config.get("hidden_size") is None or config.get("num_attention_heads") is None:
        raise GraphError(
            "the size of a head is unknown: config.json has neither head_dim nor hidden_size and "
            'num_attention_heads; assign config["head_dim"] in build().'
        )
    return int(positive(config, "hidden_size") // positive(config, "num_attention_heads"))

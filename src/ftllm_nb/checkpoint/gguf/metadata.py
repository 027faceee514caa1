"""The entries of a file's metadata that describe its architecture, each with its kind checked and noted as read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError

MOST = 2**31 - 1
"""Far more than any size of a model."""
_NOTHING: dict[str, tuple[Any, ...]] = {
    "attention.causal": (True,),
    "expert_weights_scale": (1.0,),
    "rope.scaling.attn_factor": (1.0,),
    "rope.scaling.factor": (1.0,),
    "rope.scaling.type": ("none",),
}
"""Values with which an entry changes nothing, beside 0, false and an empty text."""
_HARMLESS = (
    "rope.scaling.finetuned", "rope.scaling.original_context_length", "tensor_data_layout", "vocab_size",
)  # fmt: skip
"""Entries that change nothing whatever they are: some only matter beside others, and tensors tell their sizes."""
_OTHER_PARTS = ("audio.", "mm.", "vision.")
"""What entries on parts that see or hear begin with, in files that hold these, too."""


class Metadata:
    """The entries below an architecture's name; names are given without it, as "attention.head_count".

    What an entry must be and is not, or one that is missing, raises `CheckpointError`.
    """

    def __init__(self, path: Path, entries: dict[str, Any], architecture: str) -> None:
        self._path = path
        self._prefix = f"{architecture}."
        self._entries = {
            key.removeprefix(self._prefix): value for key, value in entries.items() if key.startswith(self._prefix)
        }
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def whole(self, name: str, default: int | None = None, least: int = 1) -> int:
        """A whole number of at least `least` and at most `MOST`; without a default the entry must be there."""
        value = self._value(name, default)
        if type(value) is not int or not least <= value <= MOST:
            self._refuse(name, value, f"a whole number from {least} to {MOST}")
        return value

    def wholes(self, name: str, count: int, default: int | None = None, least: int = 1) -> list[int]:
        """One number for each of `count` layers: the entry's, or its only one for all."""
        value = self._value(name, default)
        if not isinstance(value, np.ndarray):
            return [self.whole(name, default, least)] * count
        numbers = [int(each) for each in value] if value.dtype.kind in "iu" else []
        if len(numbers) != count or not all(least <= each <= MOST for each in numbers):
            self._refuse(name, value, f"{count} whole numbers from {least} to {MOST}, one a layer")
        return numbers

    def real(self, name: str, default: float | None = None) -> float:
        """A finite number. One that was stored as float32 comes as the shortest decimal that is this float32: 1e-6 and
        not 9.999999975e-07, so that it is the number that the model's own config has."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            self._refuse(name, value, "a finite number")
        return shortest(value)

    def reals(self, name: str, count: int) -> list[float]:
        """`count` numbers, which may be infinite."""
        value = self._value(name, None)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf" or len(value) != count:
            self._refuse(name, value, f"{count} numbers")
        return [shortest(float(each)) for each in value]

    def flag(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._value(name, default)
        if type(value) is not bool:
            self._refuse(name, value, "true or false")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        value = self._value(name, default)
        if not isinstance(value, str):
            self._refuse(name, value, "a text")
        return value

    def pattern(self, name: str, count: int, period: int) -> list[bool]:
        """Which of `count` layers slide: a list of true and false, or every so manieth does not; else every
        `period`-th."""
        value = self._value(name, period)
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biu" or len(value) != count:
                self._refuse(name, value, f"true or false for each of {count} layers")
            return [bool(each) for each in value]
        period = self.whole(name, period, least=0)
        return [period == 0 or (layer + 1) % period != 0 for layer in range(count)]

    def read(self, *names: str) -> None:
        """Count entries as read that say what is known from elsewhere."""
        self._read.update(names)

    def unread(self) -> dict[str, Any]:
        """What was not read and may change what is computed, by its whole key, in plain Python."""
        found = {}
        for name, value in self._entries.items():
            if name in self._read or name in _HARMLESS or name.startswith(_OTHER_PARTS):
                continue
            plain = value.tolist() if isinstance(value, np.ndarray) else value
            values = plain if isinstance(plain, list) else [plain]
            if any(each and each not in _NOTHING.get(name, ()) for each in values):
                found[self._prefix + name] = plain
        return found

    def _value(self, name: str, default: Any) -> Any:
        self._read.add(name)
        value = self._entries.get(name, default)
        if value is None:
            raise CheckpointError(
                f"{self._path} has no {self._prefix}{name} in its metadata, which this architecture needs: download "
                "another file of the model."
            )
        return value

    def _refuse(self, name: str, value: Any, expected: str) -> NoReturn:
        plain = value.tolist() if isinstance(value, np.ndarray) else value
        raise CheckpointError(
            f"{self._path}: {self._prefix}{name} is {shown(plain)}, where there should be {expected}: the file is "
            "damaged."
        )


def shortest(value: float) -> float:
    """The shortest decimal of a number that was a float32; the number itself where it was none."""
    rounded = np.float32(value)
    return float(str(rounded)) if float(rounded) == value else float(value)

"""The tables behind the inputs `sin` and `cos`, float32 [positions, angles], as transformers computes them.

`default`, `linear` and `llama3` scale the frequencies once. `dynamic` raises the base with the length:
position p beyond the original context is rotated as if p + 1 were the length, which is what transformers does
when it decodes a token at a time, so that a token's rotation depends on its position alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.nearest import join_quoted

Floats = NDArray[np.float32]

_LINEAR, _DYNAMIC, _LLAMA3 = "linear", "dynamic", "llama3"
_NEEDS = {
    "default": (),
    _LINEAR: ("factor",),
    _DYNAMIC: ("factor", "max_position_embeddings"),
    _LLAMA3: ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
_ROWS_AT_ONCE = 4096
_SMALLEST, _LARGEST = 1e-20, 1e20
"""Angles of all positions are finite float32 within these."""


@dataclass(frozen=True)
class RopeSettings:
    """What the config says of rotary embeddings. `dim` is the rotated part of a head: twice the angles."""

    dim: int
    base: float
    kind: str
    numbers: Mapping[str, float]

    @property
    def angles(self) -> int:
        """Columns of the tables."""
        return (self.dim + 1) // 2

    def tables(self, positions: int) -> tuple[Floats, Floats]:
        """sin and cos of the first `positions` positions, float32 [positions, angles] each. Raises MemoryError."""
        tables = RopeTables(self, positions)
        tables.fill(positions)
        return tables.sin, tables.cos

    def frequencies(self, rows: slice) -> Floats:
        """Radians a position: float32 [angles], or [rows, angles] where they depend on the position."""
        if self.kind == _LINEAR:
            return inverse_frequencies(self.base, self.dim) / np.float32(self.numbers["factor"])
        if self.kind == _LLAMA3:
            return self._llama3()
        if self.kind == _DYNAMIC:
            return self._dynamic(np.arange(rows.start + 1, rows.stop + 1))
        return inverse_frequencies(self.base, self.dim)

    def _dynamic(self, lengths: NDArray[np.int64]) -> Floats:
        # In float32, as transformers computes the base from a length that is a tensor.
        factor, original = (
            np.float32(self.numbers["factor"]),
            np.float32(self.numbers["max_position_embeddings"]),
        )
        stretch = factor * lengths.astype(np.float32) / original - (factor - 1)
        stretch = np.where(lengths <= original, np.float32(1), stretch)
        bases = np.float32(self.base) * np.power(stretch, np.float32(self.dim / (self.dim - 2)))
        return inverse_frequencies(bases[:, None], self.dim)

    def _llama3(self) -> Floats:
        frequencies = inverse_frequencies(self.base, self.dim)
        factor, low, high, original = (np.float32(self.numbers[name]) for name in _NEEDS[_LLAMA3])
        wavelengths = np.float32(2 * math.pi) / frequencies
        smooth = (original / wavelengths - low) / (high - low)
        between = (1 - smooth) * frequencies / factor + smooth * frequencies
        scaled = np.where(wavelengths > original / low, frequencies / factor, between)
        return np.asarray(np.where(wavelengths < original / high, frequencies, scaled), np.float32)


class RopeTables:
    """The inputs `sin` and `cos`: float32 [positions, angles] each, made as far as they are needed.

    Rows that nobody needed take no memory: most contexts stay far below what a model allows. Raises MemoryError.
    """

    def __init__(self, settings: RopeSettings, positions: int) -> None:
        self._settings = settings
        self._filled = 0
        try:
            self.sin = np.empty((positions, settings.angles), np.float32)
        except ValueError as error:  # more than any address can name
            raise MemoryError(str(error)) from error
        self.cos = np.empty_like(self.sin)

    def fill(self, positions: int) -> None:
        """Make the rows below `positions` right, if they are not yet."""
        while self._filled < positions:
            rows = slice(self._filled, min(self._filled + _ROWS_AT_ONCE, len(self.sin)))
            position = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
            angle = position * self._settings.frequencies(rows)
            np.sin(angle, out=self.sin[rows])
            np.cos(angle, out=self.cos[rows])
            self._filled = rows.stop


def inverse_frequencies(base: float | Floats, dim: int) -> Floats:
    """base^(−2j / dim) for each angle j, rounded where transformers rounds: the power, then its inverse."""
    exponents = (np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)).astype(np.float64)
    return np.float32(1) / np.power(base, exponents).astype(np.float32)


def rope_settings(config: Mapping[str, Any]) -> RopeSettings:
    """Read `rope_base` (else `rope_theta`), `rope_factor`, `rope_scaling` (or `rope_parameters`), head size.

    Raises `GraphError` for kinds of scaling that are not supported and for numbers that are missing or no
    numbers.
    """
    section = _scaling_section(config)
    kind = str(section.get("rope_type", section.get("type", "default")) or "default")
    if kind == "default" and "rope_factor" in config:
        kind = _LINEAR
    if kind not in _NEEDS:
        raise GraphError(f'config.json has rope_type "{kind}"; supported are {join_quoted(_NEEDS)}.')
    lookup = {**config, **section}
    if kind in (_LINEAR, _DYNAMIC) and "factor" not in section and "rope_factor" in config:
        lookup["factor"] = config["rope_factor"]
    if kind == _LLAMA3:
        lookup.setdefault("original_max_position_embeddings", config.get("max_position_embeddings"))
    if kind == _DYNAMIC:
        lookup["max_position_embeddings"] = config.get("max_position_embeddings", config.get("max_positions"))
    numbers = {name: _positive(lookup, name, f' for rope_type "{kind}"') for name in _NEEDS[kind]}
    base_name = "rope_base" if "rope_base" in config else "rope_theta"
    base = _positive(lookup, base_name, "") if lookup.get(base_name) is not None else 10000.0
    partial = _positive(lookup, "partial_rotary_factor", "") if lookup.get("partial_rotary_factor") else 1.0
    if kind == _LLAMA3 and numbers["high_freq_factor"] <= numbers["low_freq_factor"]:
        raise GraphError(
            f"config.json's high_freq_factor must be larger than its low_freq_factor, but they are "
            f"{numbers['high_freq_factor']:g} and {numbers['low_freq_factor']:g}."
        )
    dim = int(head_dim(config) * partial)
    if dim < 2 or (kind == _DYNAMIC and dim < 4):
        raise GraphError(f"config.json rotates {dim} numbers of each head, which is too few.")
    return RopeSettings(dim, base, kind, numbers)


def head_dim(config: Mapping[str, Any]) -> int:
    """The size of an attention head: `head_dim`, or hidden_size // num_attention_heads."""
    if config.get("head_dim") is not None:
        return int(_positive(config, "head_dim", ""))
    if config.get("hidden_size") is None or config.get("num_attention_heads") is None:
        raise GraphError(
            "the size of a head is unknown: config.json has neither head_dim nor hidden_size and "
            'num_attention_heads; assign config["head_dim"] in build().'
        )
    hidden, heads = _positive(config, "hidden_size", ""), _positive(config, "num_attention_heads", "")
    return int(hidden // heads)


def _scaling_section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("rope_scaling", "rope_parameters"):
        section = config.get(name)
        if section is not None and not isinstance(section, Mapping):
            raise GraphError(f"config.json's {name} must be an object or null, but it is {section!r}.")
        if section:
            return section
    return {}


def _positive(source: Mapping[str, Any], name: str, why: str) -> float:
    number = source.get(name)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < math.inf:
        raise GraphError(f"config.json's {name} must be a positive number{why}, but it is {number!r}.")
    if not _SMALLEST <= number <= _LARGEST:
        raise GraphError(
            f"config.json's {name} must be a number from {_SMALLEST:g} to {_LARGEST:g}{why}, but it is {number!r:.30}."
        )
    return float(number)

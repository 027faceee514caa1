"""What whoever loads a quantized folder is told of its matrices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ftllm_nb.quantized_type import ElementType


def growth_notes(grown: Iterable[tuple[str, ElementType]]) -> list[str]:
    """A sentence for each kind of matrices that take more memory than in their files: what each is called there, and
    its type here."""
    kinds = Counter((stored, dtype if isinstance(dtype, str) else dtype.name) for stored, dtype in grown)
    return [
        f"{count} {'matrix' if count == 1 else 'matrices'} stored as {stored} {'becomes' if count == 1 else 'become'} "
        f"{dtype}, which holds the numbers and takes more memory."
        for (stored, dtype), count in kinds.items()
    ]

"""What is said of tensors that a checkpoint holds and no operator reads."""

from __future__ import annotations

import re

MOST_NAMES_LISTED = 8


def unread_warning(names: list[str]) -> list[str]:
    """A sentence that lists the tensors that no operator reads, all layers together; [] for none."""
    if not names:
        return []
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(re.sub(r"\d+", "*", name), []).append(name)
    shown = [f"{kind} ({len(found)} tensors)" if len(found) > 1 else found[0] for kind, found in kinds.items()]
    if len(shown) > MOST_NAMES_LISTED:
        shown[MOST_NAMES_LISTED:] = [f"{len(shown) - MOST_NAMES_LISTED} more kinds"]
    return [f"the checkpoint holds tensors that no operator reads: {', '.join(shown)}."]

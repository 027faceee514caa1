"""What a build() is given, as docs/operators.md lists it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm_nb.graph.inputs import CACHE_PREFIXES, INPUT_NAMES, LOGITS

TEXT = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*INPUT_NAMES, *(f"{prefix}.N" for prefix in CACHE_PREFIXES), LOGITS])
def test_the_document_names_each(name: str) -> None:
    assert f"`{name}`" in TEXT

"""A number is named by the entries that it changes with, and by none that only happens to be as large."""

from __future__ import annotations

import math

import pytest

from ftllm_nb.scaffold.formulas import Formulas, Number

ENTRIES: dict[str, Number] = {
    "heads": 16, "dim": 128, "values": 32, "size": 128, "share": 0.25, "by": 3.0, "hidden": 24,
}  # fmt: skip
CONFIGS = [ENTRIES, *({**ENTRIES, name: 2 * number} for name, number in ENTRIES.items())]


@pytest.fixture
def formulas() -> Formulas:
    return Formulas(CONFIGS, range(1, len(CONFIGS)))


@pytest.mark.parametrize(
    "expression",
    [
        "dim",
        "size",
        "3 * dim",
        "heads * dim",
        "2 * heads * dim",
        "heads // 2",
        "values // heads",
        "dim * values // heads",
        "dim + size",
        "2 * dim + 3 * size",
        "int(dim * share)",
        "dim ** -0.5",
        "(dim + size) ** -0.5",
        "hidden ** 0.5",
        "1 / by",
        "256 / hidden",
        "2 * dim + 512",
        "by * dim ** -0.5",
    ],
)
def test_the_formula_of_a_number(expression: str, formulas: Formulas) -> None:
    vector = tuple(eval(expression, {}, config) for config in CONFIGS)
    found = formulas.find(vector)
    assert found is not None and found.text() == expression
    assert eval(found.text(), {}, ENTRIES) == vector[0]


def test_sums_of_products_that_were_seen(formulas: Formulas) -> None:
    vector = tuple(2 * each["heads"] * each["dim"] + each["values"] * each["size"] for each in CONFIGS)
    for one, other in (("heads", "dim"), ("values", "size")):
        formulas.learn(tuple(each[one] * each[other] for each in CONFIGS))
    found = formulas.find(vector)
    assert found is not None and found.text() == "2 * heads * dim + values * size"


def test_what_only_happens_to_be_as_large_is_not_named(formulas: Formulas) -> None:
    assert formulas.find((128,) * len(CONFIGS)) is None
    assert formulas.find(tuple(math.isqrt(each["dim"] * each["heads"]) for each in CONFIGS)) is None

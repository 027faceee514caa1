"""Numbers as formulas of the config's entries: one that holds in every config that was tried is no coincidence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Number = int | float
Vector = tuple[Number, ...]
"""What a number is in each of the configs, the model's own first."""
_LARGEST_FACTOR, _LARGEST_DIVISOR = 1 << 16, 4
_MOST_MULTIPLIED, _MOST_ADDED = 3, 3
WHOLE_PART = "int({})"
_POWERS = ((1.0, "{}"), (-0.5, "{} ** -0.5"), (0.5, "{} ** 0.5"), (-1.0, "1 / {}"))
"""What a model may make of a size or of a factor."""


@dataclass(frozen=True)
class Term:
    """`factor` times the entries `over`, if there are any, divided by those `under`: texts of Python each."""

    factor: Fraction
    over: tuple[str, ...]
    under: tuple[str, ...] = ()

    @property
    def is_entry(self) -> bool:
        """Whether it is one entry and nothing more."""
        return self.factor == 1 and len(self.over) == 1 and not self.under

    @property
    def product(self) -> Term:
        """Without its factor."""
        return Term(Fraction(1), self.over, self.under)

    def text(self, division: str = " // ") -> str:
        """As it is written."""
        factor = [str(self.factor.numerator)] if self.factor.numerator != 1 or not self.over else []
        divisors = [*self.under, *([str(self.factor.denominator)] if self.factor.denominator != 1 else [])]
        return "".join([" * ".join([*factor, *self.over]), *(f"{division}{each}" for each in divisors)])

    def value(self, entries: Mapping[str, Number]) -> Number:
        """What it is where the entries are these."""
        number: Number = self.factor.numerator
        for name in self.over:
            number *= entries[name]
        for divisor in (*(entries[name] for name in self.under), self.factor.denominator):
            exact = isinstance(number, int) and isinstance(divisor, int) and number % divisor == 0
            number = number // divisor if exact else number / divisor
        return number


@dataclass(frozen=True)
class Formula:
    """A sum of terms, in a form such as "{} ** -0.5"; `times`: an entry by which that is multiplied."""

    terms: tuple[Term, ...]
    form: str = "{}"
    is_whole: bool = True
    times: str = ""

    def text(self) -> str:
        """As it is written."""
        inner = " + ".join(term.text(" // " if self.is_whole else " / ") for term in self.terms)
        is_one = len(self.terms) == 1 and self.terms[0].is_entry
        text = self.form.format(inner if is_one or self.form in ("{}", WHOLE_PART) else f"({inner})")
        return f"{self.times} * {text}" if self.times else text


class Formulas:
    """Looks for formulas. `configs`: the same entries, by their texts, in each config that was tried; the model's own
    is the first. `alone`: by the place of a config in which one entry alone was changed, the text of that.
    """

    def __init__(self, configs: Sequence[Mapping[str, Number]], alone: Iterable[int]) -> None:
        self._alone = set(alone)
        self._entries: dict[str, Vector] = {}
        for name in configs[0]:
            vector = tuple(each[name] for each in configs if name in each)
            if len(vector) == len(configs) and len(set(vector)) > 1:
                self._entries[name] = vector
        self._products: dict[Term, None] = {}
        self._found: dict[tuple[type, Vector], Formula | None] = {}

    def find(self, vector: Vector) -> Formula | None:
        """The plainest formula that is this in every config; None where there is none, or it is always the same."""
        key = type(vector[0]), vector
        if key not in self._found:
            self._found[key] = self._search(vector) if len(set(vector)) > 1 else None
        return self._found[key]

    def learn(self, vector: Vector) -> None:
        """Note a product of entries of which sums may be made."""
        if len(set(vector)) > 1:
            self._term(vector, self._likely(vector))

    def _search(self, vector: Vector) -> Formula | None:
        names = self._likely(vector)
        if all(isinstance(each, int) for each in vector):
            term = self._term(vector, names)
            if term is not None and isinstance(term.value(self._at(0, (*term.over, *term.under))), float):
                return Formula((term,), WHOLE_PART, is_whole=False)
            if term is not None:
                return Formula((term,))
            return self._sum(vector, names) or self._whole_part(vector, names)
        for power, form in _POWERS:
            found = self._power(vector, names, power, form)
            if found is not None:
                return found
        for name in names:
            factor = self._entries[name]
            whole = round(vector[0] * factor[0])
            if all(each and whole / each == number for each, number in zip(factor, vector, strict=True)):
                return Formula((Term(Fraction(1), (name,)),), f"{whole} / {{}}")
            if all(factor):
                rest = tuple(each / other for each, other in zip(vector, factor, strict=True))
                found = self._power(rest, [each for each in names if each != name], -0.5, "{} ** -0.5", name, vector[0])
                if found is not None:
                    return found
        return None

    def _power(
        self,
        vector: Vector,
        names: Sequence[str],
        power: float,
        form: str,
        times: str = "",
        value: Number | None = None,
    ) -> Formula | None:
        """A power of a product or of a sum; `times`: an entry that it is multiplied by to be `value`."""
        base = self._undone(vector, power)
        if base is None:
            return None
        term = self._term(base, names)
        found = Formula((term,)) if term is not None else self._sum(base, names) if power != 1 else None
        if found is None:
            return None
        formula = Formula(found.terms, form, isinstance(base[0], int), times)
        return formula if self._is_exact(formula, vector[0] if value is None else value, power) else None

    def _likely(self, vector: Vector) -> list[str]:
        """Entries of which none changes alone without the number."""
        return [
            name
            for name, entry in self._entries.items()
            if not any(entry[at] != entry[0] and vector[at] == vector[0] for at in self._alone)
            and any(entry[at] != entry[0] and vector[at] != vector[0] for at in range(len(vector)))
        ]

    def _term(self, vector: Vector, names: Sequence[str]) -> Term | None:
        for over, under in _products_of(names):
            term = Term(Fraction(1), over, under)
            products = [term.value(self._at(at, (*over, *under))) for at in range(len(vector))]
            if not products[0]:
                continue
            factor = Fraction(vector[0] / products[0]).limit_denominator(_LARGEST_DIVISOR)
            if not 0 < factor.numerator <= _LARGEST_FACTOR:
                continue
            term = Term(factor, over, under)
            if all(_same(term.value(self._at(at, (*over, *under))), each) for at, each in enumerate(vector)):
                if len(over) > 1 or under:
                    self._products.setdefault(term.product)
                return term
        return None

    def _sum(self, vector: Vector, names: Sequence[str]) -> Formula | None:
        """Of products that were found before, of single entries, and of a number that is always the same."""
        pool = [term for term in self._products if {*term.over, *term.under} <= set(names)]
        pool += [Term(Fraction(1), (name,)) for name in names]
        pool.append(Term(Fraction(1), ()))
        columns = {
            term: [float(term.value(self._at(at, (*term.over, *term.under)))) for at in range(len(vector))]
            for term in pool
        }
        wanted = np.array(vector, np.float64)
        for count in range(2, _MOST_ADDED + 1):
            for chosen in itertools.combinations(pool, count):
                matrix = np.array([columns[term] for term in chosen]).T
                numbers, _, rank, _ = np.linalg.lstsq(matrix, wanted, rcond=None)
                factors = [round(float(each)) for each in numbers]
                if rank < count or any(not 0 < each <= _LARGEST_FACTOR for each in factors):
                    continue
                if np.allclose(matrix @ factors, wanted, rtol=1e-12, atol=0):
                    return Formula(
                        tuple(Term(each * term.factor, term.over, term.under)
                              for each, term in zip(factors, chosen, strict=True))
                    )  # fmt: skip
        return None

    def _whole_part(self, vector: Vector, names: Sequence[str]) -> Formula | None:
        """`int(head_dim * config["partial_rotary_factor"])`."""
        for over in itertools.combinations(names, 2):
            term = Term(Fraction(1), over)
            values = [term.value(self._at(at, over)) for at in range(len(vector))]
            if all(isinstance(value, float) and int(value) == each for value, each in zip(values, vector, strict=True)):
                return Formula((term,), WHOLE_PART, is_whole=False)
        return None

    def _undone(self, vector: Vector, power: float) -> Vector | None:
        """What of which this power is the vector, whole where it may be."""
        if power == 1:
            return vector
        if any(each <= 0 for each in vector):
            return None
        base = [each ** (1 / power) for each in vector]
        whole = [round(each) for each in base]
        are_whole = all(math.isclose(one, other, rel_tol=1e-6) for one, other in zip(base, whole, strict=True))
        return tuple(whole) if are_whole else tuple(base)

    def _is_exact(self, formula: Formula, value: Number, power: float) -> bool:
        """Whether it gives this very number, which the last bit of a float may tell."""
        names = [name for term in formula.terms for name in (*term.over, *term.under)]
        inner = sum(term.value(self._at(0, names)) for term in formula.terms)
        number = 1 / inner if power == -1 else inner if power == 1 else inner**power
        return bool((self._entries[formula.times][0] * number if formula.times else number) == value)

    def _at(self, place: int, names: Iterable[str]) -> dict[str, Number]:
        return {name: self._entries[name][place] for name in names}


def _products_of(names: Sequence[str]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What may be multiplied, and by what that may be divided: the plainest first."""
    for count in range(1, _MOST_MULTIPLIED + 1):
        for over in itertools.combinations(names, count):
            yield over, ()
    for count in range(1, _MOST_MULTIPLIED + 1):
        for over in itertools.combinations(names, count):
            for under in names:
                if under not in over:
                    yield over, (under,)


def _same(one: Number, other: Number) -> bool:
    if isinstance(other, int):
        return one == other
    return math.isclose(one, other, rel_tol=1e-9)

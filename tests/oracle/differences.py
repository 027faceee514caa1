"""What the oracle tests measured, for the summary that conftest.py prints."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Difference:
    """The largest difference of one configuration's logits on one engine."""

    configuration: str
    engine: str
    largest: float
    tolerance: float

    @property
    def is_within_tolerance(self) -> bool:
        """False for NaN as well."""
        return self.largest <= self.tolerance


@dataclass
class Differences:
    """Collects one row for each comparison."""

    rows: list[Difference] = field(default_factory=list)

    def check(self, configuration: str, engine: str, largest: float, tolerance: float) -> None:
        """Note a difference, and fail unless it is within the tolerance."""
        difference = Difference(configuration, engine, largest, tolerance)
        self.rows.append(difference)
        assert difference.is_within_tolerance, f"{configuration} on {engine}: {largest:.2e} from transformers"

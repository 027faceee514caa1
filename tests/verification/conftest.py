"""Prints what became of the planted faults: what was named for each, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Row:
    """One fault. `named`: "the line", "its neighbour" or "another line"; `seconds`: of computing."""

    fault: str
    named: str
    sentence: str
    seconds: float


_found = pytest.StashKey[list[Row]]()


@pytest.fixture
def found(request: pytest.FixtureRequest) -> list[Row]:
    return request.config.stash.setdefault(_found, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(_found, [])
    if not rows:
        return
    terminalreporter.section("planted faults: what was named, seconds of computing, and the cause")
    width = max(len(row.fault) for row in rows)
    for row in rows:
        terminalreporter.line(f"{row.fault:{width}}  {row.named:13}  {row.seconds:5.1f}  {row.sentence}")
    right = sum(row.named in ("the line", "its neighbour") for row in rows)
    terminalreporter.line(f"{right} of {len(rows)} named at the line or its neighbour")

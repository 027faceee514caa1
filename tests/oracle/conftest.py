"""Prints what the oracle tests measured: the largest difference to transformers for each configuration."""

from __future__ import annotations

import pytest

from tests.oracle.differences import Differences

_measured = pytest.StashKey[Differences]()


@pytest.fixture
def differences(request: pytest.FixtureRequest) -> Differences:
    return request.config.stash.setdefault(_measured, Differences())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(_measured, Differences()).rows
    if not rows:
        return
    width = max(len(row.configuration) for row in rows)
    terminalreporter.section("largest difference to transformers' logits")
    for row in rows:
        mark = "" if row.is_within_tolerance else f"   not within {row.tolerance:.0e}"
        terminalreporter.line(f"{row.configuration:{width}}  {row.engine:9}  {row.largest:.2e}{mark}")
    terminalreporter.line(f"{'all':{width}}  {'':9}  {max(row.largest for row in rows):.2e}")

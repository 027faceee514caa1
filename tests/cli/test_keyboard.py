"""The keyboard while an answer is printed."""

from __future__ import annotations

import sys

import pytest

from ftllm_nb.cli.talk.keyboard import discard_typed, without_echo


@pytest.mark.parametrize("as_keys", [False, True])
def test_systems_without_termios(as_keys: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows is: nothing is changed, and nothing fails."""
    monkeypatch.setitem(sys.modules, "termios", None)
    with without_echo(as_keys=as_keys):
        discard_typed()

"""Sessions that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pexpect
import pytest

from tests.cli.talk_on_text import Talk
from tests.cli.terminals import PROMPT_IS_READY, start


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture(scope="module")
def sessions() -> Iterator[list[Any]]:
    """The session that the tests of this file share, when there is one."""
    shared: list[Any] = []
    yield shared
    for program in shared:
        program.close(force=True)


@pytest.fixture
def terminal(sessions: list[Any]) -> Any:
    """A session at its prompt and without turns: the shared one, or a new one where a test has ended it."""
    for program in sessions:
        if program.closed:
            break
        try:
            program.setwinsize(24, 200)
            program.send("\x03/clear\r")
            program.expect_exact("the conversation is forgotten", timeout=5)
            program.expect_exact(PROMPT_IS_READY)
            return program
        except (pexpect.ExceptionPexpect, OSError):
            program.close(force=True)
    sessions[:] = [start()]
    sessions[0].expect_exact(PROMPT_IS_READY)
    return sessions[0]

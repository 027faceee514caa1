"""A server on the demo model for the tests that do not need one of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

MISSING = [name for name in ("fastapi", "llguidance", "openai") if find_spec(name) is None]

if TYPE_CHECKING:
    import openai

    from tests.serving.server_process import ServerProcess
    from tests.serving.strict_model import Written


class SkippedModule(pytest.Module):
    """A module that is not imported."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(f"not installed: {', '.join(MISSING)} (of the extras [server] and [dev])", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return SkippedModule.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    from tests.serving.server_process import ServerProcess

    with ServerProcess("demo", "--kv_cache_limit", "200M") as server:
        yield server


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    import openai

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Written]:
    """The model of a family, by whether its tags are tokens."""
    from tests.serving.strict_model import Written

    made: dict[tuple[str, bool], Written] = {}

    def get(family: str, are_tokens: bool) -> Written:
        key = (family, are_tokens)
        if key not in made:
            made[key] = Written(tmp_path_factory.mktemp(family) / "puppet", *key)
        return made[key]

    return get

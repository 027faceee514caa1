"""What holds for every test."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before NumPy is imported. Its BLAS's threads, and PyTorch's, wait for each other at work: with matrices as small as
# those here, and tests in as many processes as there are processors, that takes more time than the products.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says more of the machine than of the code.
settings.register_profile("ftllm-nb", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ftllm-nb")

KEPT_VARIABLES = {
    f"FTLLM_NB_{name}" for name in ("CACHE_DIR", "CLIENTS_MODEL", "FETCH", "REAL_MODELS", "TIER", "UNCAPPED_THREADS")
}


def pytest_configure(config: pytest.Config) -> None:
    """Ctrl-C works, for tests and for the processes that they start, and the user's own settings do not.

    A shell that starts a job in the background lets it ignore the signal, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith("FTLLM_NB_") and name not in KEPT_VARIABLES]:
        del os.environ[name]
    home = tempfile.TemporaryDirectory(prefix="ftllm_nb_home.")
    config.add_cleanup(home.cleanup)
    os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_STATE_HOME"] = home.name

class _Backwards(pytest.Dir):
    """A folder whose files come in the other order."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        return reversed(list(super().collect()))


@pytest.hookimpl
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Where several processes collect all tests, each second one begins at the other end of a folder: each compiles
    half of the files, with what explains their assertions, and finds the others compiled."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return _Backwards.from_parent(parent, path=path) if int(worker.removeprefix("gw")) % 2 else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order that all processes have."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.path)

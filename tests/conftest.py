"""What holds for every test."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# Before NumPy is imported. Its BLAS's threads, and PyTorch's, wait for each other at work: with matrices as small as
# those here, and tests in as many processes as there are processors, that takes more time than the products.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says more of the machine than of the code.
settings.register_profile("ftllm-nb", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ftllm-nb")

KEPT_VARIABLES = {
    f"FTLLM_NB_{name}" for name in ("CACHE_DIR", "CLIENTS_MODEL", "REAL_MODELS", "TIER", "UNCAPPED_THREADS")
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

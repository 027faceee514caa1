"""GuideLLM's benchmark: some requests one after the other, and together."""

# /// script
# dependencies = ["guidellm"]
# ///

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _steps import BASE_URL, FOLDER, MODEL, run


def benchmark(profile: str, *more: str) -> dict[str, Any]:
    """The report's first benchmark."""
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "guidellm", "benchmark", "run", "--target", BASE_URL.removesuffix("/v1"),
             "--model", MODEL, "--processor", FOLDER, "--profile", profile, *more, "--max-requests", "4",
             "--data", "prompt_tokens=20,output_tokens=8", "--output-path", str(report)],
            env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return json.loads(report.read_text())["benchmarks"][0]


def one_by_one() -> None:
    metrics = benchmark("synchronous")["metrics"]
    assert metrics["request_totals"]["successful"] == 4 and metrics["request_totals"]["errored"] == 0


def together() -> None:
    metrics = benchmark("concurrent", "--rate", "2")["metrics"]
    assert metrics["request_totals"]["successful"] >= 4 and metrics["request_totals"]["errored"] == 0


run(one_by_one, together)

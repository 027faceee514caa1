"""GuideLLM's benchmark: some requests one after the other, and together.

torch, which it imports, is the version of which an offline CPU build may be at hand: the newest brings CUDA along.
"""

# /// script
# dependencies = ["torch==2.13.0", "guidellm"]
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


def benchmark(profile: str) -> dict[str, Any]:
    """How many of four requests succeeded, and how many did not."""
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "guidellm", "run", "--disable-console", "--profile", profile,
             "--backend", f"kind=openai_http,target={BASE_URL.removesuffix('/v1')},model={MODEL}",
             "--tokenizer", f"kind=huggingface_auto,model={FOLDER}", "--constraint", "kind=max_requests,count=4",
             "--data", "kind=synthetic_text,prompt_tokens=20,output_tokens=8", "--output", f"kind=json,path={report}"],
            env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return json.loads(report.read_text())["benchmarks"][0]["metrics"]["request_totals"]


def one_by_one() -> None:
    totals = benchmark("kind=synchronous")
    assert (totals["successful"], totals["errored"]) == (4, 0)


def together() -> None:
    totals = benchmark("kind=concurrent,streams=2")
    assert (totals["successful"], totals["errored"]) == (4, 0)


run(one_by_one, together)

"""The curl commands of docs/server.md do what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving.server_process import ServerProcess

DOCUMENT = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^curl (?:.|\n)*?(?=\ncurl|\n```)", DOCUMENT, re.MULTILINE)


def run(server: ServerProcess, command: str) -> str:
    command = command.replace("http://127.0.0.1:8080", server.url).replace("curl ", "curl -sS --fail ", 1)
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_commands(server: ServerProcess) -> None:
    chat, stream, completion, schema, metrics = (run(server, command) for command in COMMANDS)
    assert json.loads(chat)["choices"][0]["message"]["content"] == "42"
    assert "[DONE]" in stream and stream.count("data: ") > 5
    assert len(json.loads(completion)["choices"][0]["logprobs"]["tokens"]) <= 8
    assert isinstance(json.loads(json.loads(schema)["choices"][0]["message"]["content"])["age"], int)
    assert "ftllm_requests_running" in metrics

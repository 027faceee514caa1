"""The command llm, with extra-openai-models.yaml as its documentation has it."""

# /// script
# dependencies = ["llm"]
# ///

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _steps import API_KEY, BASE_URL, MODEL, run

folder = tempfile.TemporaryDirectory()
(Path(folder.name) / "extra-openai-models.yaml").write_text(f"""
- model_id: local
  model_name: {json.dumps(MODEL)}
  api_base: {BASE_URL}
  api_key_name: local
  supports_schema: true
  supports_tools: true
- model_id: local-completion
  model_name: {json.dumps(MODEL)}
  api_base: {BASE_URL}
  completion: true
""")
(Path(folder.name) / "keys.json").write_text(json.dumps({"local": API_KEY}))
SCHEMA = json.dumps({
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
})  # fmt: skip


def llm(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "llm", *arguments],
        env={**os.environ, "LLM_USER_PATH": folder.name}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def models() -> None:
    assert "local" in llm("models", "list")


def chat() -> None:
    assert llm("-m", "local", "-o", "max_tokens", "20", "What is 17 + 25?").strip()
    assert llm("-m", "local", "-o", "max_tokens", "20", "--no-stream", "-s", "You are short.", "What is 2 + 2?").strip()


def goes_on() -> None:
    assert llm("-c", "-m", "local", "-o", "max_tokens", "20", "And 3 + 3?").strip()


def schema() -> None:
    for more in ([], ["--no-stream"]):
        person = json.loads(llm("-m", "local", "-o", "max_tokens", "200", "--schema", SCHEMA, *more, "Invent a person"))
        assert isinstance(person["name"], str) and 0 <= person["age"] <= 99


def short_schema() -> None:
    """Integers and booleans alone, so that a small model comes to an end."""
    answer = json.loads(llm("-m", "local", "-o", "max_tokens", "200", "--schema", "is_sum bool", "What is 17 + 25?"))
    assert isinstance(answer["is_sum"], bool)


def tools() -> None:
    """Tools are offered, and may be used or not."""
    llm("-m", "local", "-o", "max_tokens", "30", "-T", "llm_version", "--chain-limit", "3", "What is 17 + 25?")


def completion() -> None:
    llm("-m", "local-completion", "-o", "max_tokens", "5", "One, two,")


run(models, chat, goes_on, schema, short_schema, tools, completion)

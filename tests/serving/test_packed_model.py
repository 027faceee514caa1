"""A packed folder behind the server: answers side by side, and the end of a server whose weights are damaged."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ftllm_nb import llm
from ftllm_nb.cli import main
from tests.forking.programs import program
from tests.serving.server_process import ServerProcess

QUESTIONS = ["What is 17 + 25?", "What is the capital of France?", "Count from 3 to 9.", "Spell the word stone."]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "packed"
    flags = ["--dtype", "int4g32", "--format", "packed", "--max_shard_size", "1MB"]
    assert main(["quantize", "demo", "-o", str(folder), *flags]) == 0
    return folder


def test_answers_side_by_side_are_those_of_the_model_alone(packed: Path) -> None:
    with llm.model(packed) as model:
        expected = [model.response(question, temperature=0) for question in QUESTIONS]
    with ServerProcess("-p", str(packed), "-t", "2") as server, ThreadPoolExecutor(8) as clients:

        def ask(question: str) -> str:
            body = {"messages": [{"role": "user", "content": question}], "temperature": 0}
            answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).json()
            return str(answer["choices"][0]["message"]["content"])

        assert list(clients.map(ask, QUESTIONS * 4)) == expected * 4
        assert [model["id"] for model in httpx.get(f"{server.url}/v1/models").json()["data"]] == ["packed"]


def test_damaged_weights_end_the_server_with_one_sentence(packed: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in packed.iterdir():
        content = bytearray(file.read_bytes())
        if file.name.startswith("model-00002-"):
            content[-1] ^= 1
        (damaged / file.name).write_bytes(content)
    command = program("ftllm_nb.server", "-p", str(damaged), "--port", "0")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    listens, sentence = ended.stderr.splitlines()
    assert "listens" in listens and sentence.startswith(f"error: {damaged}: the bytes of tensor 'model.layers.")

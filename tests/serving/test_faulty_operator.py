"""An operator of a user's file that raises in the middle of an answer: that answer ends, and the server goes on."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.serving.server_process import ServerProcess

EXAMPLE = Path(__file__).parents[2] / "examples" / "qwen2.py"
OPERATOR = '''
from ftllm_nb.ops.base import Kind, Operator, Parameter


class Fragile(Operator):
    parameters = (Parameter("input", Kind.INPUT), Parameter("positions", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input, positions):
        return input

    @staticmethod
    def reference(step, input, positions):
        if positions.max() >= 40:
            raise ValueError("position 40 is unlucky")
        return input + 0


class Qwen2Model(ComputeGraph):
    operators = (Fragile,)

'''


def messages(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 60, "temperature": 0}


@pytest.mark.parametrize("stream", [False, True])
def test_the_server_goes_on(tmp_path: Path, stream: bool) -> None:
    file = tmp_path / "model.py"
    model = EXAMPLE.read_text().replace("class Qwen2Model(ComputeGraph):\n", OPERATOR)
    last = "        self.SplitLastTokenStates("
    call = '        self.Fragile(data["hiddenStates"], data["positionIds"], data["hiddenStates"])\n'
    file.write_text(model.replace(last, call + last))
    with ServerProcess("demo", "--custom", str(file), "--kv_cache_limit", "50M") as server:
        address = f"{server.url}/v1/chat/completions"
        story = messages("Tell me a story about a cat, a dog, a house and a garden, and a long road.")
        failed = httpx.post(address, json=story | {"stream": stream}, timeout=60)
        assert failed.status_code == (200 if stream else 500)
        assert '"code":"internal_error"' in failed.text
        answered = httpx.post(address, json=messages("What is 17 + 25?"), timeout=60)
        assert answered.status_code == 200 and answered.json()["choices"][0]["message"]["content"]
        (told,) = [line for line in server.lines if line.startswith("error: ")]
    assert told.startswith(f"error: {file}:") and told.endswith("position 40 is unlucky.")
    assert not any("Traceback" in line for line in server.lines)

"""What is said of a model while it loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb import loading
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.errors import EngineError
from ftllm_nb.graph.unread_tensors import unread_warning


@pytest.mark.parametrize(
    ("eos", "beyond"), [(2047, ""), (2048, "2048"), ([1, 5000, 4000], "4000, 5000"), (None, ""), (-1, "")]
)
def test_ends_of_answers_that_are_no_tokens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, eos: Any, beyond: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(loading.model_folder("demo"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": eos}))

    def stop(*arguments: object, **options: object) -> None:
        raise EngineError("far enough")

    monkeypatch.setattr(loading, "open_executor", stop)
    said: list[str] = []
    with pytest.raises(EngineError, match="far enough"):
        loading.load(folder, warn=said.append)
    expected = f"eos_token_id {beyond} is beyond the model's vocabulary of 2048 tokens: no answer ends there."
    assert said == ([expected] if beyond else [])


def test_a_tensor_that_is_read_in_other_layers_is_named_with_its_layer() -> None:
    names = ["h.1.up", "h.0.down", "h.1.down"]
    assert unread_warning(names) == [
        "the checkpoint holds tensors that no operator reads: h.1.up, h.*.down (2 tensors)."
    ]


def test_a_type_of_states_that_a_model_does_not_have_is_worth_a_word() -> None:
    said: list[str] = []
    for state_dtype in ("float32", "float16"):
        loading.prepare(None, EngineOptions(state_dtype=state_dtype), warn=said.append).checkpoint.close()
    assert said == ["state_dtype float16 changes nothing: this model keeps no matrices of recurrent layers."]

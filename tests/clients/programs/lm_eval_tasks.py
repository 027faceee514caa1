"""lm-evaluation-harness with local-completions: a multiple-choice task on local data, by echoed log-probabilities."""

# /// script
# dependencies = ["lm_eval[api]", "transformers"]
# ///

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _steps import BASE_URL, FOLDER, MODEL, run

QUESTIONS = [
    {"question": "What is 2 + 2?", "choices": ["4", "7"], "answer": 0},
    {"question": "What is the capital of France?", "choices": ["Rome", "Paris"], "answer": 1},
]
TASK = """
task: local_choices
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - metric: acc
"""
GENERATION = """
task: local_generation
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: generate_until
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 8
metric_list:
  - metric: exact_match
"""


def evaluate(kind: str, task: str, where: str, *more: str) -> dict[str, float]:
    """The metrics of a task."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data.jsonl"
        data.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
        (folder / "task.yaml").write_text(task.format(data=data))
        tokenizer = f"tokenizer_backend=huggingface,tokenizer={FOLDER}" if kind == "local-completions" else ""
        arguments = f"model={MODEL},base_url={BASE_URL}/{where},max_retries=1,num_concurrent=1,{tokenizer}".rstrip(",")
        task_name = task.split("task: ")[1].split()[0]
        done = subprocess.run(
            [sys.executable, "-m", "lm_eval", "--model", kind, "--model_args", arguments, "--tasks", task_name,
             "--include_path", str(folder), "--output_path", str(folder / "out"), *more],
            env={**os.environ, "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "unused"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
        (results,) = (folder / "out").rglob("results*.json")
        return json.loads(results.read_text())["results"][task_name]


def multiple_choice() -> None:
    assert 0 <= evaluate("local-completions", TASK, "completions")["acc,none"] <= 1


def generation() -> None:
    assert 0 <= evaluate("local-completions", GENERATION, "completions")["exact_match,none"] <= 1


def chat_generation() -> None:
    metrics = evaluate("local-chat-completions", GENERATION, "chat/completions", "--apply_chat_template")
    assert 0 <= metrics["exact_match,none"] <= 1


run(multiple_choice, generation, chat_generation)

"""`ftllm-nb bench` as a user types it: what its flags mean, what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.benchmark import run as benchmark_run
from ftllm_nb.benchmark.limits import MachineLimits
from ftllm_nb.benchmark.run import Settings, model_name, open_weights, speed_tests, stored_dtype
from ftllm_nb.cli import build_parser, main
from ftllm_nb.cli.bench import model_path
from ftllm_nb.errors import UsageError

CONFIGS = Path(__file__).parents[2] / "bench" / "configs"
PARSER = build_parser()
TINY: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 131,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "torch_dtype": "float16",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps(TINY))
    return file


@pytest.fixture
def fixed_limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Limits that are told, not measured; the sizes of the buffers that were asked for."""
    asked: list[int] = []

    def fixed(threads: int, read_bytes: int) -> MachineLimits:
        asked.append(read_bytes)
        return MachineLimits(threads, read_bytes, 20.0, 200.0 + 50 * len(asked), None)

    monkeypatch.setattr(benchmark_run, "measure_limits", fixed)
    return asked


@pytest.mark.parametrize(
    "line, prompt, path",
    [
        ("", None, None),
        ("-p 128", [128], None),
        ("-p 128,512", [128, 512], None),
        ("-p 0", [0], None),
        ("--n-prompt 7 folder", [7], "folder"),
        ("--path folder", None, "folder"),
        ("-p folder", "folder", "folder"),
        ("-p ./512", "./512", "./512"),
        ("-p folder folder", "folder", "folder"),
    ],
)
def test_p_counts_tokens_or_names_the_model(
    line: str, prompt: list[int] | str | None, path: str | None
) -> None:
    args = PARSER.parse_args(["bench", *line.split()])
    assert args.n_prompt == prompt
    assert model_path(args) == path


def test_p_still_names_the_model_elsewhere() -> None:
    assert PARSER.parse_args(["chat", "-p", "512"]).path == "512"


@pytest.mark.parametrize(
    "line, says",
    [
        ("-n x", "-n/--n_gen: a whole number of at least 0 is expected, not 'x'"),
        ("-n -1", "-n/--n_gen"),
        ("-n 3,", "a whole number of at least 0 is expected, not ''"),
        ("-p 1.5", "-p/--n_prompt: a whole number of at least 0 is expected, not '1.5'"),
        ("-p 1,,3", "a whole number of at least 0 is expected, not ''"),
        ("-p ,", "a whole number of at least 0 is expected, not ''"),
        ("-r 0", "a whole number of at least 1 is expected, not '0'"),
        ("-p 0 -n 0", "there is nothing to measure: -p and -n are both 0."),
        ("--path one two", "two models were named, one and two: name one."),
        ("--config c.json", "add --random"),
        ("--config= --random", "the path of --config is empty"),
        ("--config c.json --random folder", "both --config c.json and the model folder were named"),
        ("--config /no/such.json --random", 'there is no file "/no/such.json"'),
        ("-p /no/such/folder", "/no/such/folder"),
        ("--random /no/such/folder", "/no/such/folder: no such folder"),
        ("--layers 2", "--layers measures a part of a model, whose weights must be random: add --random."),
        (f"--random --config {CONFIGS}/qwen3-0.6b.json --layers 29", "--layers 29 is more than the model's 28 layers"),
        ("--dtype int3 --random --config c.json", "int3"),
    ],
)
def test_bad_usage_is_one_sentence(line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["bench", *line.split()])
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    printed = capsys.readouterr()
    assert status == 2
    assert printed.out == ""
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    assert says in printed.err


def test_a_test_beyond_the_context_is_refused_before_anything_is_measured(
    config: Path, fixed_limits: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--config", str(config), "--random", "--engine", "reference"]) == 2
    assert "pp512 needs a context of 512 tokens, but the model's holds 64" in capsys.readouterr().err
    assert main(["bench", "--config", str(config), "--random", "--engine", "reference", "-p", "0"]) == 2
    assert "tg64 needs a context of 80 tokens, 16 of them a prompt, but the model's holds 64" in capsys.readouterr().err
    assert fixed_limits == []


def test_only_some_layers_of_a_config_are_measured() -> None:
    config = {"num_hidden_layers": 3, "layer_types": ["a", "b", "c"], "eos_token_id": [1, 2]}
    cut = {"num_hidden_layers": 2, "layer_types": ["a", "b"], "eos_token_id": [1, 2]}
    assert benchmark_run.with_layers(config, 2) == cut
    assert benchmark_run.with_layers({"text_config": config}, 2) == {"text_config": cut}
    settings = benchmark_run.Settings(random=True, random_config=f"{CONFIGS}/qwen3-0.6b.json", layers=2)
    with benchmark_run.open_weights(settings) as checkpoint:
        assert max(int(name.split(".")[2]) for name in checkpoint.tensors if ".layers." in name) == 1


def test_random_weights_of_a_config_are_measured(
    config: Path, fixed_limits: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"bench --config {config} --random --engine reference -p 8 -n 4,2 -r 2 -t 1 --json"
    assert main(line.split()) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [result["test"] for result in found["results"]] == ["pp8", "tg4", "tg2"]
    assert all(result["tokens_per_s"] > 0 and result["share_of_limit"] > 0 for result in found["results"])
    assert found["model"]["name"] == "tiny" and found["model"]["dtype"] == "float16"
    assert found["machine"]["threads"] == 1 and found["machine"]["dot_gop_per_s"] is None
    assert fixed_limits == [found["model"]["bytes"]] * 2, "just before and just after, over the model's size"
    assert found["machine"]["fma_gflop_per_s"] == 275.0
    assert "250 GFLOP/s before, 300 after" in printed.err


def test_the_table_is_printed_without_json(
    config: Path, fixed_limits: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"bench --config {config} --random --engine reference -p 8 -n 0 -r 1 -t 1"
    assert main(line.split()) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("| tiny ") and " pp8 |" in last


def test_random_weights_of_a_folders_own_config(
    config: Path, fixed_limits: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    config.rename(config.with_name("config.json"))
    line = f"bench {config.parent} --random --engine reference -p 2 -n 0 -r 1 -t 1 --json"
    assert main(line.split()) == 0
    assert json.loads(capsys.readouterr().out)["model"]["name"] == config.parent.name


def test_random_weights_need_a_graph_that_knows_its_tensors(config: Path, tmp_path: Path) -> None:
    custom = tmp_path / "custom.py"
    custom.write_text(
        "from ftllm.llm import ComputeGraph\n"
        "class Custom(ComputeGraph):\n"
        "    def build(self):\n"
        "        self.Embedding(self.data['inputIds'], self.weight['e'], self.data['logits'])\n"
        "__model__ = Custom\n"
    )
    with pytest.raises(UsageError, match=r"custom\.py: random weights need .* weight_shapes"):
        open_weights(Settings(random_config=str(config), random=True, custom=str(custom)))


@pytest.mark.parametrize(
    "dtype, config, stored",
    [
        ("float32", {"torch_dtype": "float16"}, "float32"),
        ("auto", {"torch_dtype": "float16"}, "float16"),
        ("auto", {"dtype": "float32"}, "float32"),
        ("auto", {"torch_dtype": None, "dtype": "float32"}, "float32"),
        ("auto", {"torch_dtype": "float16", "dtype": "float32"}, "float32"),
        ("auto", {"text_config": {"dtype": "float16"}}, "float16"),
        ("auto", {"torch_dtype": "float64"}, "bfloat16"),
        ("int4", {"torch_dtype": "float16"}, "float16"),
        ("auto", {}, "bfloat16"),
    ],
)
def test_random_weights_have_the_type_that_they_are_kept_as(
    dtype: str, config: dict[str, Any], stored: str
) -> None:
    assert stored_dtype(dtype, config) == stored


def test_tests_are_the_prompts_then_the_generations_without_zeros() -> None:
    tests = speed_tests(Settings(prompt_tokens=[0, 4], generated_tokens=[3, 0, 1]))
    assert [test.name for test in tests] == ["pp4", "tg3", "tg1"]


def test_a_model_is_called_by_its_file_or_folder() -> None:
    assert model_name(Settings()) == "demo"
    assert model_name(Settings(path="/models/some-model/")) == "some-model"
    assert model_name(Settings(random_config="configs/qwen2.5-0.5b.json", random=True)) == "qwen2.5-0.5b"


@pytest.mark.parametrize("name, parameters", [("qwen2.5-0.5b", 494_032_768), ("qwen2.5-1.5b", 1_543_714_304)])
def test_the_configurations_are_those_of_the_real_models(name: str, parameters: int) -> None:
    """The sums that the models' publisher gives: 0.49 and 1.54 billion parameters."""
    with open_weights(Settings(random_config=str(CONFIGS / f"{name}.json"), random=True)) as checkpoint:
        counts = [info.nbytes // 2 for info in checkpoint.tensors.values()]
    assert sum(counts) == parameters


@pytest.mark.parametrize("more", [[], ["--random"], ["--profile"]])
def test_what_says_which_model_of_the_hub_is_passed_on(more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another model than the one that was asked for is measured."""
    asked: list[tuple[Any, ...]] = []

    def folder(*arguments: Any) -> Path:
        asked.append(arguments)
        raise UsageError("enough.")

    monkeypatch.setattr(benchmark_run, "model_folder", folder)
    assert main(["bench", "owner/name", "--revision", "v2", "--cache_dir", "models", *more]) == 2
    assert asked == [("owner/name", "v2", "models")]

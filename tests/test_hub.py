"""Models by name, from a hub on this machine: what is fetched, what is not, and what each failure says."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ftllm_nb
from ftllm_nb.checkpoint.foreign import readers
from ftllm_nb.errors import HubError
from ftllm_nb.hub import fetch_model, gguf_files, is_model_name, needed_files
from tests.forking.programs import program
from tests.local_hub import LocalHub, running_hub

DEMO = Path(ftllm_nb.__file__).parent / "demo"
NAME = "someone/demo-model"


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with running_hub() as running:
        running.add_folder(NAME, DEMO)
        yield running


def run(hub: LocalHub | None, home: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command with its own cache."""
    endpoint = "http://127.0.0.1:9" if hub is None else hub.endpoint
    hidden = {"HF_TOKEN", "HF_HUB_OFFLINE", "FASTLLM_CACHEDIR", "HF_HUB_CACHE"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    variables = {**kept, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1", **environment}
    done = subprocess.run(program("ftllm_nb", *arguments), env=variables, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


ASK = ("chat", NAME, "-t", "1", "-m", "What is 17 + 25?")


@pytest.mark.slow
def test_a_model_is_fetched_by_name_listed_and_found_without_a_connection(hub: LocalHub, tmp_path: Path) -> None:
    assert run(hub, tmp_path, *ASK) == (0, "42\n", "")
    fetched = {path.rpartition("/")[2] for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path}
    assert fetched == {file.name for file in DEMO.iterdir()} - {"README.md"}
    hub.requests.clear()
    assert run(hub, tmp_path, *ASK) == (0, "42\n", "")
    assert not [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]
    status, out, err = run(None, tmp_path, "list")
    assert (status, err) == (0, "") and out.startswith(f"{NAME}  ") and " MB  used 20" in out
    assert run(None, tmp_path, *ASK, HF_HUB_OFFLINE="1") == (0, "42\n", "")
    status, out, err = run(None, tmp_path, *ASK)
    assert (status, out) == (0, "42\n")
    assert err.startswith("warning: http://127.0.0.1:9 cannot be reached") and "from the cache" in err


def test_weights_of_a_form_that_is_not_read_are_not_fetched(hub: LocalHub, tmp_path: Path) -> None:
    folder = tmp_path / "aqlm"
    shutil.copytree(DEMO, folder)
    config = json.loads((folder / "config.json").read_text())
    quantization = {"quant_method": "aqlm", "bits": 4}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}))
    hub.add_folder("someone/aqlm", folder)
    status, out, err = run(hub, tmp_path / "home", "chat", "someone/aqlm", "-m", "?")
    assert (status, out) == (2, "") and "is quantized by AQLM, a form that is not read" in err
    assert not [path for method, path, _ in hub.requests if method == "GET" and path.endswith(".safetensors")]


def test_a_download_that_breaks_goes_on_where_it_ended(hub: LocalHub, tmp_path: Path) -> None:
    weights_file = random.Random(1).randbytes(45 << 20)  # huggingface_hub writes 10 MB at a time
    hub.repositories["someone/large"] = {"config.json": b"{}", "model.safetensors": weights_file}
    hub.breaks = 2
    status, out, _ = run(hub, tmp_path, "download", "someone/large")
    assert status == 0 and hub.breaks == 0
    assert (Path(out.strip()) / "model.safetensors").read_bytes() == weights_file
    gets = [(path, wanted) for method, path, wanted in hub.requests if method == "GET"]
    weights = [wanted for path, wanted in gets if path.endswith("model.safetensors")]
    assert len(weights) == 3 and weights[0] == "" and all(each.startswith("bytes=") for each in weights[1:])


def test_a_download_that_was_given_up_is_completed_at_the_next_start(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights_file = random.Random(1).randbytes(45 << 20)
    hub.repositories["someone/large"] = {"config.json": b"{}", "model.safetensors": weights_file}
    hub.breaks = 1000
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(HubError, match=r"model.safetensors of someone/large broke off \(.*same command again"):
        fetch_model("someone/large", cache_dir=tmp_path)
    hub.breaks = 0
    folder = fetch_model("someone/large", cache_dir=tmp_path)
    assert (folder / "model.safetensors").read_bytes() == weights_file


def test_the_cache_may_lie_elsewhere(hub: LocalHub, tmp_path: Path) -> None:
    for number, (flags, environment) in enumerate(
        ((["--cache_dir", str(tmp_path / "a")], {}), ([], {"FASTLLM_CACHEDIR": str(tmp_path / "b")}))
    ):
        status, out, _ = run(hub, tmp_path / "home", "download", NAME, *flags, **environment)
        assert status == 0 and out.startswith(str(tmp_path / "ab"[number]))
        assert run(hub, tmp_path / "home", "list", *flags, **environment)[1].startswith(NAME)
    assert run(hub, tmp_path / "home", "list")[1].startswith("no models in ")


@pytest.mark.slow
def test_a_revision(hub: LocalHub, tmp_path: Path) -> None:
    assert run(hub, tmp_path, *ASK, "--revision", "v1")[:2] == (0, "42\n")
    status, out, err = run(hub, tmp_path, *ASK, "--revision", "v9")
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {NAME} has no revision 'v9'")
    assert "is a folder: leave it out" in run(hub, tmp_path, "chat", str(DEMO), "--revision", "v1", "-m", "a")[2]


@pytest.mark.parametrize(
    "name, says",
    [
        ("someone/nothing", "no model of that name"),
        ("someone/gated", "accept it at"),
        ("someone/pickled", "no weights as safetensors but .bin files"),
        ("someone/data", "holds no config.json"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    hub.add_folder("someone/gated", DEMO)
    hub.gated.add("someone/gated")
    hub.repositories["someone/pickled"] = {"config.json": b"{}", "pytorch_model.bin": b"a"}
    hub.repositories["someone/data"] = {"README.md": b"a"}
    with pytest.raises(HubError) as error:
        fetch_model(name, cache_dir=tmp_path)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("command", [("download", "someone/nothing"), ("chat", "someone/nothing", "-m", "a")])
def test_commands_end_with_that_sentence(hub: LocalHub, tmp_path: Path, command: tuple[str, ...]) -> None:
    status, out, err = run(hub, tmp_path, *command)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and "no model of that name" in err and err.count("\n") == 1


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    status, out, err = run(None, tmp_path, *ASK)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert err.startswith("error: http://127.0.0.1:9 cannot be reached") and f"does not hold {NAME}" in err
    assert err.endswith("and there is no folder of that name here.\n"), "a path that is misspelt looks like a name"
    assert "HF_HUB_OFFLINE forbids" in run(None, tmp_path, *ASK, HF_HUB_OFFLINE="1")[2]
    assert "HF_ENDPOINT is 'hub'" in run(None, tmp_path, *ASK, HF_ENDPOINT="hub")[2]
    assert "is no name on the hub" in run(None, tmp_path, "download", "what")[2]


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert is_model_name("Qwen/Qwen2.5-0.5B-Instruct") and is_model_name("models/other")
    assert is_model_name("Qwen/Qwen3-4B-GGUF:Q4_K_M") and is_model_name("models/mine:Q8_0")
    assert is_model_name("models/mine:m.gguf") and not is_model_name("models/m.gguf")
    for path in ("models/mine", "./a/b", "/a/b", "a", "a/b/c", "~/a", "a/..", "../a", "", "a/", "-a/b", "a/b:"):
        assert not is_model_name(path)


def test_only_needed_files() -> None:
    small = ["config.json", "tokenizer.json", "additional_chat_templates/tool_use.jinja"]
    shards = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    others = ["README.md", "original/consolidated.safetensors", "consolidated.safetensors", "onnx/model.safetensors"]
    assert needed_files([*others, *shards, "a/config.json", *small]) == [*small, *shards]
    assert needed_files([*shards, *small, "model.safetensors"]) == [*small, "model.safetensors"]


def test_configs_of_quantized_folders_are_needed() -> None:
    """Of those that lie beside config.json, without which nobody knows how the weights are stored."""
    names = sorted({module.BESIDE for module in readers().values() if hasattr(module, "BESIDE")})
    assert len(names) == 3
    assert sorted(needed_files(names)) == names


GGUF_NAMES = [
    "README.md", "m-F16.gguf", "m-IQ4_XS.gguf", "m-Q4_0.gguf", "m-Q4_K_M.gguf", "m-UD-Q4_K_XL.gguf", "mmproj-F16.gguf",
    "Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf", "m.imatrix.gguf", "imatrix_m.gguf",
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        (None, ["m-Q4_K_M.gguf"]),
        ("q4_k_m", ["m-Q4_K_M.gguf"]),
        ("Q4_0", ["m-Q4_0.gguf"]),
        ("UD-Q4_K_XL", ["m-UD-Q4_K_XL.gguf"]),
        ("Q4_K_XL", ["m-UD-Q4_K_XL.gguf"]),
        ("Q8_0", ["Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf"]),
        ("m-F16.gguf", ["m-F16.gguf"]),
        ("F16", ["m-F16.gguf"]),
        ("K_M", ["m-Q4_K_M.gguf"]),
        ("Q2_K", []),
    ],
)  # fmt: skip
def test_the_files_of_one_model_in_gguf(kind: str | None, files: list[str]) -> None:
    assert gguf_files(GGUF_NAMES, kind) == files


def test_without_the_usual_type_it_is_the_first_one() -> None:
    assert gguf_files(["b-Q6_K.gguf", "a-Q8_0-00001-of-00002.gguf", "a-Q8_0-00002-of-00002.gguf"], None) == [
        "a-Q8_0-00001-of-00002.gguf", "a-Q8_0-00002-of-00002.gguf",
    ]  # fmt: skip
    assert gguf_files(["mmproj-F16.gguf", "README.md"], None) == []


def test_a_gguf_file_by_its_type(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    hub.repositories["someone/m-GGUF"] = {name: name.encode() for name in GGUF_NAMES}
    for name, file in (("someone/m-GGUF", "m-Q4_K_M.gguf"), ("someone/m-GGUF:q8_0", "Q8_0/m-Q8_0-00001-of-00002.gguf")):
        path = fetch_model(name, cache_dir=tmp_path)
        assert path.read_bytes() == file.encode() and path.name == Path(file).name
    assert (path.parent / "m-Q8_0-00002-of-00002.gguf").is_file()
    fetched = {path.rpartition("/")[2] for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path}
    assert fetched == {"m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"}
    with pytest.raises(HubError, match=r"no GGUF file of the type 'Q2_K': it has Q8_0/m-Q8_0-00001-of-00002.gguf, "):
        fetch_model("someone/m-GGUF:Q2_K", cache_dir=tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert fetch_model("someone/m-GGUF:Q8_0", cache_dir=tmp_path) == path
    assert fetch_model("someone/m-GGUF", cache_dir=tmp_path).name == "m-Q4_K_M.gguf"
    with pytest.raises(HubError, match="holds no GGUF file of the type 'F16' of someone/m-GGUF"):
        fetch_model("someone/m-GGUF:F16", cache_dir=tmp_path)


def test_safetensors_go_before_gguf_where_no_type_is_named(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    hub.repositories[NAME]["demo-Q8_0.gguf"] = b"GGUF"
    assert (fetch_model(NAME, cache_dir=tmp_path) / "config.json").is_file()
    assert fetch_model(f"{NAME}:Q8_0", cache_dir=tmp_path).name == "demo-Q8_0.gguf"

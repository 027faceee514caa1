"""Models that other tools keep: found by the tools' names, run in place, refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftllm_nb.cli import main
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.errors import CheckpointError, FtllmError
from ftllm_nb.loading import located_model, prepare
from ftllm_nb.stores import stored_model, stores
from tests.stores.fake_stores import END, TURN, files, model_bytes, ollama_model

LIBRARY = "registry.ollama.ai/library"


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("OLLAMA_MODELS", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("FASTLLM_CACHEDIR", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return home


@pytest.fixture
def ollama(empty_home: Path) -> Path:
    return empty_home / ".ollama" / "models"


@pytest.fixture
def lm_studio(empty_home: Path) -> Path:
    return empty_home / ".lmstudio" / "models"


@pytest.fixture
def llama_cpp(empty_home: Path) -> Path:
    return empty_home / ".cache" / "llama.cpp"


def found(name: str) -> str | None:
    """The store and file of a name."""
    said: list[str] = []
    model = stored_model(name, said.append)
    return None if model is None else f"{model.store} {model.path.name}"


def test_the_order_is_that_of_the_names() -> None:
    assert [store.title for store in stores()] == ["llama.cpp", "LM Studio", "Ollama"]


@pytest.mark.parametrize(
    "manifest, names",
    [
        (f"{LIBRARY}/llama3.2/1b", ["llama3.2:1b", "Llama3.2:1B", "library/llama3.2:1b", f"{LIBRARY}/llama3.2:1b"]),
        (f"{LIBRARY}/qwen3/latest", ["qwen3", "qwen3:latest"]),
        ("registry.ollama.ai/someone/m/q4", ["someone/m:q4"]),
        ("hf.co/owner/m-GGUF/Q4_K_M", ["hf.co/owner/m-GGUF:Q4_K_M", "hf.co/Owner/M-gguf:q4_k_m"]),
    ],
)
def test_ollamas_names(ollama: Path, manifest: str, names: list[str]) -> None:
    ollama_model(ollama, manifest, {"model": b"GGUF", "template": b"{{ .Prompt }}"})
    ollama_model(ollama, f"{LIBRARY}/other/1b", {"model": b"GGUF other"})
    blob = next((ollama / "blobs").glob("*"))
    expected = {model.name: f"Ollama {model.path.name}" for store in stores() for model in store.models()}
    assert blob.name in str(expected.values())
    assert {found(name) for name in names} == {expected[names[0] if ":" in names[0] else names[1]]}
    assert found("m") is None and found("someone/other") is None


def test_an_older_blob_and_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "elsewhere"))
    ollama_model(tmp_path / "elsewhere", f"{LIBRARY}/m/latest", {"model": b"GGUF"})
    blob = next((tmp_path / "elsewhere" / "blobs").glob("*"))
    older = blob.with_name(blob.name.replace("-", ":"))
    blob.rename(older)
    assert found("m") == f"Ollama {older.name}"


def manifest_of(text: str) -> Callable[[Path], None]:
    def make(ollama: Path) -> None:
        ollama_model(ollama, f"{LIBRARY}/m/latest", {"model": b"GGUF"}).write_text(text)

    return make


def layers_of(**layers: Any) -> Callable[[Path], None]:
    def make(ollama: Path) -> None:
        ollama_model(ollama, f"{LIBRARY}/m/latest", layers)

    return make


MODEL_LAYER = '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": %s}]}'


@pytest.mark.parametrize(
    "make, says",
    [
        (manifest_of("{"), "is not valid JSON"),
        (manifest_of(""), "is empty"),
        (manifest_of('{"layers": 3}'), "lists no layers, so it is no manifest of Ollama's"),
        (manifest_of('{"layers": [3]}'), "lists no layers, so it is no manifest of Ollama's"),
        (manifest_of('{"layers": []}'), "holds no model in GGUF"),
        (manifest_of(MODEL_LAYER % '"sha256:../../../../etc/passwd"'), "where a blob's digest was expected"),
        (manifest_of(MODEL_LAYER % "7"), "names 7 where a blob's digest was expected"),
        (layers_of(model=None), "is missing: `ollama pull m:latest` fetches it again"),
        (layers_of(projector=b"GGUF"), "only the part of a model that sees (projector)"),
        (layers_of(tensor=b"safetensors"), "holds no model in GGUF, its layers being 'tensor' ("),
        (layers_of(model=b"GGUF", adapter=b"GGUF"), "an adapter (LoRA) beside it, which is not applied here"),
        (layers_of(model1=b"GGUF 1", model2=b"GGUF 2"), "is split into 2 files"),
        (layers_of(model=b"GGUF", params=None), "is missing: `ollama pull m:latest` fetches it again"),
        (layers_of(model=b"GGUF", params=b"[]"), "holds a JSON list"),
        (layers_of(model=b"GGUF"), "is truncated"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    ollama: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], None], says: str
) -> None:
    make(ollama)
    assert main(["info", "-p", "m"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and says in said and said.count("\n") == 1
    assert main(["list", "--local"]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith("m:latest") and ("cannot be used" in listed) == (says != "is truncated")


def test_a_name_that_no_store_has(capsys: pytest.CaptureFixture[str], empty_home: Path) -> None:
    assert main(["info", "-p", "llama3.2:1b"]) == 2
    said = capsys.readouterr().err
    assert "no file llama3.2:1b here" in said and f"Ollama ({empty_home}/.ollama/models or " in said
    assert "`ftllm-nb list --local`" in said and said.count("\n") == 1


@pytest.mark.parametrize("name", ["llama3.2", "Llama3.2:3b"])
def test_a_name_that_lacks_its_tag(capsys: pytest.CaptureFixture[str], ollama: Path, name: str) -> None:
    for tag in ("1b", "1b-q8"):
        ollama_model(ollama, f"{LIBRARY}/llama3.2/{tag}", {"model": b"GGUF"})
    assert main(["info", "-p", name]) == 2
    said = "no model of that name: Ollama has llama3.2:1b and Ollama has llama3.2:1b-q8.\n"
    assert capsys.readouterr().err.endswith(said)


def test_a_model_of_ollamas_runs_in_place_with_its_parameters(ollama: Path) -> None:
    parameters = {
        "temperature": 0.3, "top_k": 7, "repeat_penalty": 1.1, "num_ctx": 4096, "num_predict": -1, "mirostat": 2,
        "stop": [TURN, "!", END, "User:"],
    }  # fmt: skip
    layers = {"model": model_bytes(), "params": parameters, "system": b"Be brief."}
    ollama_model(ollama, f"{LIBRARY}/tiny/1b", layers)
    said: list[str] = []
    prepared = prepare("tiny:1b", EngineOptions(), warn=said.append)
    with prepared.checkpoint as checkpoint:
        assert checkpoint.path.parent == ollama / "blobs"
        assert prepared.graph.generation_config == {
            "temperature": 0.3, "top_k": 7, "repetition_penalty": 1.1, "do_sample": True, "eos_token_id": [0, 1],
        }  # fmt: skip
        assert prepared.tokenizer.eos_token_ids == {0, 1}
    about = [each for each in said if "Ollama" in each]
    assert sorted(about) == [
        "Ollama ends answers of tiny:1b at '!', which is no token of control: they do not end there here.",
        "Ollama ends answers of tiny:1b at 'User:', which is no token of control: they do not end there here.",
        "Ollama has a system message (--system gives one) for tiny:1b, which is not used here.",
        "Ollama has the parameter mirostat for tiny:1b, which is not used here.",
    ]


def test_lm_studios_names(lm_studio: Path) -> None:
    files(lm_studio / "owner" / "one-GGUF", "one-Q8_0.gguf", "mmproj-one-F16.gguf")
    files(lm_studio / "owner" / "many", "m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf")
    files(lm_studio / "owner" / "mlx", "model.safetensors", "config.json")
    names = [model.name for store in stores() for model in store.models()]
    assert names == ["owner/many/m-Q4_K_M.gguf", "owner/many/m-Q8_0-00001-of-00002.gguf", "owner/one-GGUF"]
    assert {name: found(name) for name in names} == {
        "owner/many/m-Q4_K_M.gguf": "LM Studio m-Q4_K_M.gguf",
        "owner/many/m-Q8_0-00001-of-00002.gguf": "LM Studio m-Q8_0-00001-of-00002.gguf",
        "owner/one-GGUF": "LM Studio one-Q8_0.gguf",
    }
    assert found("Owner/Many") == "LM Studio m-Q4_K_M.gguf"
    assert found("owner/many:q8_0") == "LM Studio m-Q8_0-00001-of-00002.gguf"
    assert found("owner/many:Q2_K") is None and found("owner/mlx") is None and found("owner/none") is None


def test_lm_studios_other_folders(empty_home: Path, tmp_path: Path) -> None:
    files(empty_home / ".cache" / "lm-studio" / "models" / "a" / "older", "m.gguf")
    files(tmp_path / "chosen" / "a" / "newer", "m.gguf")
    settings = empty_home / ".lmstudio" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"downloadsFolder": str(tmp_path / "chosen")}))
    assert found("a/older") and found("a/newer")
    settings.write_text("{")
    assert found("a/older") and not found("a/newer")


def test_llama_cpps_names(llama_cpp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def manifest(name: str, content: object) -> None:
        files(llama_cpp, f"manifest={name}.json", content=json.dumps(content).encode())

    manifest("owner=m-GGUF=latest", {"ggufFile": {"rfilename": "m-Q4_K_M.gguf"}})
    manifest("owner=m-GGUF=Q8_0", {"ggufFile": {"rfilename": "Q8_0/m-Q8_0-00001-of-00002.gguf"}})
    manifest("owner=gone=Q8_0", {"ggufFile": {"rfilename": "m.gguf"}})
    manifest("owner=odd=Q8_0", {"ggufFile": None})
    split = "owner_m-GGUF_Q8_0_m-Q8_0-0000%d-of-00002.gguf"
    files(llama_cpp, "owner_m-GGUF_m-Q4_K_M.gguf", split % 1, split % 2, content=bytes(1_000_000))
    assert found("owner/m-GGUF") == "llama.cpp owner_m-GGUF_m-Q4_K_M.gguf"
    assert found("owner/m-gguf:q8_0") == f"llama.cpp {split % 1}"
    for name, says in (("owner/gone:Q8_0", "is missing: `llama-cli -hf"), ("owner/odd:Q8_0", "names no GGUF file")):
        with pytest.raises(CheckpointError, match=says):
            found(name)
    assert main(["list", "--local"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["owner/gone:Q8_0", "owner/m-GGUF:latest", "owner/m-GGUF:Q8_0",
                                                   "owner/odd:Q8_0"]  # fmt: skip
    assert " 2.0 MB " in lines[2]


def test_what_lies_at_a_path_goes_first_and_then_the_stores(
    lm_studio: Path, ollama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(lm_studio / "owner" / "m", "m-Q4_K_M.gguf")
    ollama_model(ollama, "registry.ollama.ai/owner/m/latest", {"model": b"GGUF"})
    said: list[str] = []
    path, model = located_model("owner/m", warn=said.append)
    assert model is not None and path == lm_studio / "owner" / "m" / "m-Q4_K_M.gguf"
    assert len(said) == 2 and f"owner/m is LM Studio's, {path}; with --revision main it is the one" in said[0]
    assert "Ollama has a model owner/m, too: give its path, " in said[1]

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FtllmError, match="cannot be reached"):
        located_model("owner/m", revision="main", warn=said.append)

    (tmp_path / "owner" / "m").mkdir(parents=True)
    assert located_model("owner/m", warn=said.append) == (Path("owner/m"), None) and len(said) == 2


def test_one_that_can_be_used_goes_before_one_that_cannot(lm_studio: Path, llama_cpp: Path) -> None:
    files(llama_cpp, "manifest=owner=m=latest.json", content=b"{")
    files(lm_studio / "owner" / "m", "m.gguf")
    assert found("owner/m") == "LM Studio m.gguf"


def test_a_list_of_nothing_says_where_it_looked(capsys: pytest.CaptureFixture[str], empty_home: Path) -> None:
    assert main(["list", "--local"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("no models in ") and f"{empty_home}/.lmstudio/models" in said


def test_a_list_has_all_stores(ollama: Path, lm_studio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ollama_model(ollama, f"{LIBRARY}/m/1b", {"model": b"GGUF" * 1000})
    files(lm_studio / "owner" / "m", "m.gguf", content=bytes(5000))
    assert main(["list", "--local"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows] == [["owner/m", "LM", "Studio"], ["m:1b", "Ollama", "0.0"]]

"""`ftllm-nb perplexity` as a user types it: its numbers, its forms of output, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import ftllm_nb
from ftllm_nb import llm
from ftllm_nb.benchmark import perplexity
from ftllm_nb.benchmark.fidelity import standard_error
from ftllm_nb.benchmark.picture import short_name
from ftllm_nb.cli import main
from ftllm_nb.cli import perplexity as perplexity_command
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.errors import EngineError
from ftllm_nb.loading import LoadedModel

DEMO = Path(ftllm_nb.__file__).parent / "demo"
TEXT = "What is 17 + 25? It is 42. Ünïcode, too: 你好. My name is Alice, and what is yours?\n" * 3


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    return str(file)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = main(["perplexity", "-t", "1", *arguments])
    output = capsys.readouterr()
    assert (status, output.err) == (0, "")
    return output.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["perplexity", "-t", "1", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    return output.err


def log_probabilities(model: llm.Model, token_ids: list[int]) -> np.ndarray:
    """Of what comes after the ids, by the prompt's last logits."""
    logits = model._session.logits(token_ids).astype(np.float64)
    return logits - np.log(np.exp(logits).sum())


def test_numbers_are_those_of_prompts_one_by_one(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Every judged token's window up to it as a prompt of its own, in NumPy, in windows of 24 tokens begun at 9."""
    flags = ["--text", text, "--window", "24", "--stride", "9", "--windows", "3", "--json"]
    result = json.loads(printed(capsys, *flags, "--dtype", "float32,int4g32", "--base", "float32"))
    with (
        llm.model("demo", dtype="float32", kv_cache_dtype="float32") as base,
        llm.model("demo", dtype="int4g32", kv_cache_dtype="float32") as other,
    ):
        ids = base.encode(TEXT)
        surprise, divergences, agreements = [], [], []
        for begin, first in ((0, 1), (9, 24), (18, 33)):
            for at in range(first, begin + 24):
                p, q = (log_probabilities(model, ids[begin:at]) for model in (base, other))
                surprise.append((-p[ids[at]], -q[ids[at]]))
                divergences.append(float((np.exp(p) * (p - q)).sum()))
                agreements.append(p.argmax() == q.argmax())
    rows = result["rows"]
    assert result["over"] == f"{len(surprise)} tokens in 3 windows of 24, stride 9" and len(surprise) == 41
    assert [row["name"] for row in rows] == ["float32", "int4g32"] and rows[0]["fidelity"] is None
    for row, mean in zip(rows, np.mean(surprise, axis=0), strict=True):
        assert row["score"]["perplexity"] == pytest.approx(math.exp(mean), rel=1e-6)
    assert rows[1]["fidelity"] == pytest.approx(
        {
            "positions": 41,
            "mean": np.mean(divergences),
            "percentile_99": np.percentile(divergences, 99),
            "largest": max(divergences),
            "top_1_agreement": np.mean(agreements),
            "standard_error": standard_error(np.split(np.array(divergences), [23, 32])),
        },
        rel=1e-5,
    )


def test_table_and_picture(capsys: pytest.CaptureFixture[str], text: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    other = tmp_path / "rounded <4 bits>"
    assert main(["quantize", "demo", "-o", str(other), "--dtype", "int4g32"]) == 0
    capsys.readouterr()
    flags = ["--text", text, "--dtype", "int8,int4g32", "--also", str(other), "--base", "float32"]
    table = printed(capsys, *flags, "--svg", str(picture)).splitlines()
    assert table[0].endswith("KL divergence from float32, in nats")
    names = [line.split("|")[1].strip() for line in table[2:]]
    assert names == ["weights", "-" * (len(str(other)) + 2), "float32", "int8", "int4g32", str(other)]
    assert len({len(line) for line in table[2:]}) == 1, "columns are as wide in every row"
    labels = [element.text for element in ElementTree.parse(picture).iter() if element.tag.endswith("text")]
    assert {"int8", "int4g32", short_name(str(other))} <= set(labels)


@pytest.mark.parametrize("ends_by", [KeyboardInterrupt, EngineError])
def test_rows_appear_as_they_come_and_are_kept(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    tmp_path: Path,
    ends_by: type[BaseException],
) -> None:
    """A row takes minutes to hours: it is seen at once, and Ctrl-C in the third leaves two, also as JSON and drawn."""
    seen: list[str] = []
    measure = perplexity.measure

    def measured(row: perplexity.Contender, *rest: Any) -> perplexity.Row:
        seen.append(capsys.readouterr().out)
        if row.name == "int4g32":
            raise ends_by("the machine is on fire.")
        return measure(row, *rest)

    monkeypatch.setattr(perplexity, "measure", measured)
    picture = tmp_path / "picture.svg"
    flags = ["perplexity", "-t", "1", "--text", text, "--windows", "1"]
    flags += ["--dtype", "int8,int4g32,int4", "--base", "float32"]
    status = 130 if ends_by is KeyboardInterrupt else 2
    assert main([*flags, "--svg", str(picture)]) == status
    assert seen[0] == "" and "| float32 " in seen[1] and "weights" in seen[1] and "| int8 " in seen[2]
    assert capsys.readouterr().out == "" and "int8" in picture.read_text()
    assert len({len(part.splitlines()[-1]) for part in seen[1:]}) == 1
    assert main([*flags, "--json"]) == status
    kept = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in kept["rows"]] == ["float32", "int8"] and kept["is_whole"] is False


@pytest.mark.slow
def test_a_cache_of_fewer_bits_is_measured_too(capsys: pytest.CaptureFixture[str], text: str) -> None:
    flags = ["--text", text, "--dtype", "float32", "--base", "float32", "--kv_cache_dtype", "int8", "--json"]
    base, row = json.loads(printed(capsys, *flags))["rows"]
    assert base["fidelity"] is None and 0 < row["fidelity"]["mean"] < 0.1


def test_exceptions_are_not_the_base_s(capsys: pytest.CaptureFixture[str], text: str) -> None:
    flags = ["--text", text, "--dtype", "float32", "--base", "float32", "--embedding_dtype", "int4g32", "--json"]
    base, row = json.loads(printed(capsys, *flags))["rows"]
    assert base["bits_a_weight"] == 32 and row["bits_a_weight"] < 31
    assert row["fidelity"]["mean"] > 1e-3


def test_without_a_base_perplexity_alone(capsys: pytest.CaptureFixture[str], text: str) -> None:
    table = printed(capsys, "demo", "--text", text)
    assert "| auto " in table and "KL" not in table


def test_warnings_stand_before_the_table_or_after_it_and_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    load = perplexity.load

    def loaded(path: str | None, options: EngineOptions, *, warn: Callable[[str], None], **others: Any) -> LoadedModel:
        warn("of each row.")
        warn(f"of {options.dtype}.")
        return load(path, options, warn=warn, **others)

    monkeypatch.setattr(perplexity, "load", loaded)
    monkeypatch.setattr("sys.stderr", sys.stdout)
    flags = ["--text", text, "--window", "16", "--windows", "1", "--dtype", "float32,int8"]
    assert main(["perplexity", "-t", "1", *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["warning: of each row.", "warning: of float32."]
    assert [line[:9] for line in lines[-4:]] == ["|--------", "| float32", "| int8   ", "warning: "]
    assert lines[-1] == "warning: of int8." and len(lines) == 9


@pytest.mark.parametrize(
    "content, flags, says",
    [
        (b"", [], "is empty"),
        (b"caf\xe9", [], "not UTF-8"),
        (b"!", [], "one token long"),
        (b"short", ["--window", "512"], "less than a window of 512"),
        (b"short text", ["--window", "1025"], "context of 1024"),
        (b"some words", ["--window", "2", "--stride", "3"], "stride of 3"),
        (b"some words", ["--dtype", "int9"], "is expected, not 'int9' (did you mean int8?)"),
        (b"some words", ["--dtype", "int8,int8"], "asked for twice"),
        (b"some words", ["--base", "int9"], "int9: no such folder"),
        (b"some words", ["--also", "/nowhere"], "/nowhere: no such folder"),
        (b"some words", ["--svg", "x.svg"], "--base float32"),
        (b"some words", ["--base", ""], "is empty"),
    ],
)
def test_bad_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, flags: list[str], says: str
) -> None:
    file = tmp_path / "text"
    file.write_bytes(content)
    assert says in refused(capsys, "--text", str(file), *flags)


@pytest.mark.parametrize(
    "flags, says",
    [
        (("--svg", "{}"), "cannot be written: it is a folder"),
        (("--svg", "{}/no/picture.svg"), "cannot be written: there is no folder {}/no"),
        (("--also", "{}/no"), "{}/no: no such folder"),
        (("--base", "{}"), "{} holds no config.json"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    tmp_path: Path,
    flags: tuple[str, str],
    says: str,
) -> None:
    monkeypatch.setattr(perplexity, "load", None)
    folder = tmp_path / "folder"
    folder.mkdir()
    flag, value = flags
    assert says.format(folder) in refused(capsys, "--text", text, "--base", "float32", flag, value.format(folder))


def test_a_picture_that_cannot_be_written_after_all_costs_no_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(perplexity_command, "picture_form", lambda path: "svg")
    flags = ["--text", text, "--dtype", "int8", "--base", "float32", "--svg", str(tmp_path)]
    assert main(["perplexity", *flags]) == 2
    output = capsys.readouterr()
    assert "| int8 " in output.out
    assert output.err == f"error: the picture {tmp_path} cannot be written: Is a directory.\n"


def test_a_quantized_model_has_no_floats_to_be_compared_with(
    capsys: pytest.CaptureFixture[str], text: str, tmp_path: Path
) -> None:
    assert main(["quantize", "demo", "-o", str(tmp_path / "q4"), "--dtype", "int4g32"]) == 0
    capsys.readouterr()
    flags = ["-p", str(tmp_path / "q4"), "--text", text, "--json"]
    assert f"{tmp_path}/q4 is quantized already, so that it has no weights as float32" in refused(
        capsys, *flags, "--base", "float32"
    )
    result = json.loads(printed(capsys, *flags, "--base", "demo"))
    assert result["rows"][1]["fidelity"]["mean"] > 0


@pytest.fixture
def other_vocabulary(tmp_path: Path) -> str:
    """The folder of a model of 131 tokens, with the demo's tokenizer."""
    from tests.golden.small_models import SMALL_MODELS, write_checkpoint

    folder = write_checkpoint(tmp_path / "other", "qwen2_gqa", SMALL_MODELS["qwen2_gqa"])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder)
    return str(folder)


@pytest.mark.parametrize("with_base", [True, False])
def test_another_vocabulary_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    other_vocabulary: str,
    with_base: bool,
) -> None:
    monkeypatch.setattr(perplexity, "measure", None)
    if with_base:  # known from the folders
        monkeypatch.setattr(perplexity, "load", None)
        said = refused(capsys, "--text", text, "--base", other_vocabulary)
        assert "demo has a vocabulary of 2048 tokens, not the 131 of " + other_vocabulary in said
    else:  # known from the text's tokens
        said = refused(capsys, "--text", text, "--also", other_vocabulary)
        assert f"{other_vocabulary} has a vocabulary of 131 tokens, not the one that the text is compared in" in said
    assert "one tokenizer" in said and "auto" not in said


def test_a_model_without_a_chat_template_is_measured_without_a_word(
    capsys: pytest.CaptureFixture[str], text: str, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(DEMO, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": None}))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    assert "| auto " in printed(capsys, "-p", str(folder), "--text", text, "--windows", "1", "--window", "16")


def test_one_window_is_no_windows(capsys: pytest.CaptureFixture[str], text: str) -> None:
    out = printed(capsys, "--text", text, "--windows", "1", "--window", "16")
    assert out.startswith("15 tokens in 1 window of 16, stride 8\n")


def test_damaged_weights_are_no_row(capsys: pytest.CaptureFixture[str], text: str, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(DEMO, folder)
    file = folder / "model.safetensors"
    stored = bytearray(file.read_bytes())
    size = int.from_bytes(stored[:8], "little")
    begin, end = json.loads(stored[8 : 8 + size])["model.layers.0.mlp.down_proj.weight"]["data_offsets"]
    stored[8 + size + begin : 8 + size + end] = b"\xc0\x7f" * ((end - begin) // 2)  # NaN in bfloat16
    file.write_bytes(stored)
    assert "float32: the model's logits are not finite" in refused(
        capsys, "-p", str(folder), "--dtype", "float32", "--text", text, "--window", "16"
    )

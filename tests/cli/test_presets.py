"""Defaults from config.toml and from variables: which one counts, and one sentence for each mistake."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ftllm_nb.cli import build_parser, main
from ftllm_nb.cli.model_arguments import chosen_path
from ftllm_nb.cli.presets import apply_presets, warn_of_unused
from ftllm_nb.errors import UsageError


def parse(line: str, file: Path, **environment: str) -> argparse.Namespace:
    parser = build_parser()
    apply_presets(parser, environment, file)
    return parser.parse_args(line.split())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_the_command_line_goes_before_variables_and_those_before_the_file(file: Path) -> None:
    chat = "[chat]\ntemperature = 0.5\nplain = true\nkv_cache_dtype = 'int8'\n"
    file.write_text(f"threads = 3\n{chat}[bench]\nthreads = 2\n")
    args = parse("chat", file)
    assert (args.threads, args.temperature, args.plain, args.kv_cache_dtype) == (3, 0.5, True, "int8")
    assert parse("bench", file).threads == 2 and parse("info", file).threads == 3
    assert parse("chat", file, FTLLM_NB_TEMPERATURE="0.7").temperature == 0.7
    assert parse("chat --temperature 0.9", file, FTLLM_NB_TEMPERATURE="0.7").temperature == 0.9
    assert parse("run", file).temperature == 0.5


def test_the_model_may_be_preset_and_named_in_either_way(file: Path) -> None:
    file.write_text("path = 'preset'\n[bench]\nn_prompt = [128, 512]\n")
    assert [chosen_path(parse(line, file)) for line in ("chat", "chat given", "chat -p given")] == [
        "preset", "given", "given"
    ]  # fmt: skip
    assert parse("bench", file).n_prompt == [128, 512]
    assert chosen_path(parse("chat", file, FTLLM_NB_PATH="other")) == "other"


def test_switches(file: Path) -> None:
    for text, value in (("1", True), ("on", True), ("True", True), ("0", False), ("false", False)):
        assert parse("chat", file, FTLLM_NB_JSON=text).json is value
    assert parse("chat", file, FTLLM_NB_ENABLE_THINKING="false").enable_thinking is False


def test_variables_that_mean_something_else_are_left_alone(file: Path) -> None:
    args = parse("chat", file, FTLLM_NB_CACHE_DIR="kernels", FTLLM_NB_TIER="x", FTLLM_NB_UNCAPPED_THREADS="1")
    assert args.cache_dir is None


@pytest.mark.parametrize(
    "content, says",
    [
        ("temprature = 1", "temprature is no flag (did you mean temperature?)"),
        ("[chat]\nn_gen = 1", "n_gen is no flag of chat"),
        ("[caht]\nthreads = 1", "caht is no command (did you mean chat?)"),
        ("help = true", "help is no flag"),
        ("threads = 0", "threads: a whole number from 1 to 1024 is expected, not '0'"),
        ("[chat]\ntemperature = 'hot'", "temperature of [chat]: a number of at least 0 is expected, not 'hot'"),
        ("engine = 'fast'", "engine: 'fast' is none of compiled, reference"),
        ("dtype = 'int99'", "dtype: auto, bfloat16,"),
        ("[quantize]\ndtype = 'float16'", "dtype of [quantize]: int4, "),
        ("plain = 'maybe'", "plain: true or false is expected, not 'maybe'"),
        ("threads = ", "is no TOML"),
        (b"\xff", "it is not UTF-8"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_file(file: Path, content: str | bytes, says: str) -> None:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as error:
        parse("chat", file)
    assert says in str(error.value) and str(file) in str(error.value) and "\n" not in str(error.value)


def test_what_one_command_does_not_take_is_not_its_default(file: Path) -> None:
    """Only types of whole numbers are for `quantize`."""
    file.write_text("dtype = 'float16'\n")
    assert parse("chat", file).dtype == "float16" and parse("quantize", file).dtype is None
    assert parse("quantize", file, FTLLM_NB_DTYPE="int8").dtype == parse("chat", file, FTLLM_NB_DTYPE="int8").dtype


def test_a_wrong_variable_is_named(file: Path) -> None:
    with pytest.raises(UsageError, match=r"^the environment variable FTLLM_NB_TOP_K: a whole number"):
        parse("chat", file, FTLLM_NB_TOP_K="many")


def test_a_misspelt_variable_is_said_to_do_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parse("chat", file, FTLLM_NB_TEMPRATURE="1", FTLLM_NB_TIER="generic", FTLLM_NB_TOP_K="1")
    assert capsys.readouterr().err == (
        "warning: the environment variable FTLLM_NB_TEMPRATURE is no flag's (did you mean FTLLM_NB_TEMPERATURE?).\n"
    )


def test_help_answers_whatever_the_settings(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = file.parent / "ftllm-nb"
    folder.mkdir()
    (folder / "config.toml").write_text("nonsense = 1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(file.parent))
    assert main(["chat", "--help"]) == 0
    assert main(["chat", "-m", "a"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {folder / 'config.toml'}: nonsense is no flag")


@pytest.mark.parametrize(
    "content, variables, line, says",
    [
        ("path = 'no_such_model'", {}, "chat -m hi", "{file}: path)."),
        ("[chat]\npath = '~/no_such_model'", {}, "chat -m hi", "{file}: path of [chat])."),
        ("path = 'other'", {"FTLLM_NB_PATH": "no_such_model"}, "quantize --dry_run", "variable FTLLM_NB_PATH)."),
        ("custom = '/no/such.py'", {}, "bench demo", "{file}: custom)."),
        ("[bench]\nconfig = 'x'", {}, "bench", "add --random to measure it (--config comes from {file}: config"),
        ("path = 'no_such_model'\n[bench]\nsvg = 'x.svg'", {}, "bench no_such_model --svg other", None),
        ("path = 'no_such_model'", {}, "chat no_such_model -m hi", None),
    ],
)
def test_an_error_names_the_setting_that_it_is_about(
    file: Path,
    content: str,
    variables: dict[str, str],
    line: str,
    says: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mistake in a file that was written long ago; not where the command line says otherwise."""
    folder = file.parent / "ftllm-nb"
    folder.mkdir()
    (folder / "config.toml").write_text(content)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(file.parent))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(line.split()) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "comes from" not in err if says is None else says.format(file=folder / "config.toml") in err


def test_a_variable_that_this_command_cannot_take_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else `quantize` would take another type than the one that was asked for, and not say so."""
    warn_of_unused(parse("quantize", file, FTLLM_NB_DTYPE="float16"))
    said = capsys.readouterr().err
    assert said.startswith("warning: the environment variable FTLLM_NB_DTYPE: int4, ") and "quantize goes on" in said
    warn_of_unused(parse("chat", file, FTLLM_NB_DTYPE="float16"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "content, says",
    [
        ("path = ['a', 'b']", "path: one value is expected, not a list."),
        ("[server]\nmodel_name = 1.10", "model_name of [server]: a text in quotes is expected"),
        ("[chat]\nsystem = true", "system of [chat]: a text in quotes is expected"),
        ("[chat]\ntemperature = {a = 1}", "temperature of [chat]: a single value is expected"),
        ("[server]\ncors_origin = [['a']]", "cors_origin of [server]: a list of single values is expected"),
    ],
)
def test_values_of_another_form_are_refused(file: Path, content: str, says: str) -> None:
    file.write_text(content)
    with pytest.raises(UsageError) as error:
        parse("server", file)
    assert says in str(error.value)


def test_what_is_written_is_kept(file: Path) -> None:
    """Spaces of a text, and the counts that -p PATH leaves to the settings."""
    file.write_text("[chat]\nsystem = ' Be brief. '\n")
    assert parse("chat", file).system == " Be brief. "
    assert parse("chat", file, FTLLM_NB_SYSTEM="a ").system == "a "
    assert parse("chat", file, FTLLM_NB_CUSTOM="~/x.py").custom == str(Path("~/x.py").expanduser())
    assert parse("chat", file, FASTLLM_CACHEDIR="models").cache_dir == "models"


def test_two_flags_of_one_meaning(file: Path) -> None:
    """--svg is --plot by its former name: either may be preset, and a variable of one goes before the file's other."""
    file.write_text("[bench]\nsvg = 'file.svg'\n")
    assert parse("bench", file).plot == "file.svg"
    assert parse("bench", file, FTLLM_NB_PLOT="variable.svg").plot == "variable.svg"
    assert parse("bench --plot line.svg", file, FTLLM_NB_SVG="variable.svg").plot == "line.svg"

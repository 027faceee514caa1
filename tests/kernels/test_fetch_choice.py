"""How far ahead weights are fetched changes no bit, is measured once, and is kept beside the kernels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.errors import UsageError
from ftllm_nb.kernels import fetch_choice as choices
from ftllm_nb.kernels import fetch_trial
from ftllm_nb.kernels.elementwise import silu_multiply
from ftllm_nb.kernels.fetch_choice import FetchChoice, fetch_choice, trying

NEAR, FAR = FetchChoice(False, False), FetchChoice(True, True)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Nothing was chosen in this process yet; the folder for compiled kernels, which is empty."""
    monkeypatch.delenv(choices.VARIABLE, raising=False)
    monkeypatch.setattr(choices, "kernel_directory", lambda: tmp_path)
    choices._chosen.cache_clear()
    yield tmp_path
    choices._chosen.cache_clear()


@pytest.mark.parametrize("make", [fetch_trial._integer_loop, fetch_trial._super_loop])
@pytest.mark.parametrize("columns", [256, 1024, 20480])
def test_near_and_far_give_the_same_bits(make: object, columns: int) -> None:
    rng = np.random.default_rng(columns)
    found = []
    for choice in (NEAR, FAR):
        with trying(choice):
            loop, block_bytes = make(choice.code())  # type: ignore[operator]
            loop.address  # noqa: B018  (the property compiles)
        found.append((loop, block_bytes(columns)))
    blocks = 13
    weights = rng.integers(0x11, 0x39, blocks * found[0][1] + 64, np.uint8)
    x = rng.integers(0x11, 0x39, 8 * columns + 4096, np.uint8)
    outs = [np.zeros(16 * blocks, np.float32) for _ in found]
    for (loop, _), out in zip(found, outs, strict=True):
        loop(weights.ctypes.data, blocks, x.ctypes.data, out.ctypes.data, columns)
    assert outs[0][: 16 * 12].all() and np.isfinite(outs[0]).all()
    np.testing.assert_array_equal(outs[0][: 16 * 12], outs[1][: 16 * 12])


def test_code_differs() -> None:
    """Far asks for lines by another instruction than near."""
    texts = []
    for choice in (NEAR, FAR):
        with trying(choice):
            texts.append(fetch_trial._integer_loop("look")[0].assembly())
    near, far = (text.count("prefetcht1") for text in texts)
    assert near < far


def test_is_measured_once_and_kept(unmeasured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = FetchChoice(True, False, (1.5, 0.9))
    monkeypatch.setattr(fetch_trial, "measured_choice", lambda: measured)
    assert fetch_choice() == measured
    assert [file.name for file in unmeasured.iterdir()] == ["fetching.json"]
    choices._chosen.cache_clear()
    monkeypatch.setattr(fetch_trial, "measured_choice", lambda: pytest.fail("it was measured again"))
    assert fetch_choice() == measured


@pytest.mark.parametrize("content", ["", "{", "[]", '{"rows": true}', '{"rows": 1, "units": 0, "gains": [1]}'])
def test_a_damaged_file_is_measured_again(unmeasured: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (unmeasured / "fetching.json").write_text(content)
    measured = FetchChoice(False, True, (1.0, 1.2))
    monkeypatch.setattr(fetch_trial, "measured_choice", lambda: measured)
    assert fetch_choice() == measured
    assert json.loads((unmeasured / "fetching.json").read_text())["gains"] == [1.0, 1.2]


@pytest.mark.parametrize(("word", "choice"), [("near", NEAR), ("far", FAR)])
def test_the_variable_chooses(
    unmeasured: Path, monkeypatch: pytest.MonkeyPatch, word: str, choice: FetchChoice
) -> None:
    monkeypatch.setenv(choices.VARIABLE, word)
    assert fetch_choice() == choice
    assert choice.explain() == f"{word} ahead: chosen by FTLLM_NB_FETCH"
    assert not list(unmeasured.iterdir())


def test_another_word_is_refused(unmeasured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choices.VARIABLE, "sometimes")
    with pytest.raises(UsageError, match="FTLLM_NB_FETCH=sometimes: it is near or far, or is not set"):
        fetch_choice()


@pytest.mark.parametrize(
    ("usual", "gains", "rows", "units"),
    [
        (False, (1.04, 1.06), False, True),
        (False, (0.5, 2.0), False, True),
        (True, (0.96, 0.94), True, False),
        (True, (1.3, 1.0), True, True),
    ],
)
def test_only_what_is_clearly_faster_replaces_the_usual(
    monkeypatch: pytest.MonkeyPatch, usual: bool, gains: tuple[float, float], rows: bool, units: bool
) -> None:
    class Tier:
        fetches_far = usual

    left = list(gains)
    monkeypatch.setattr(fetch_trial, "current_tier", Tier)
    monkeypatch.setattr(fetch_trial, "_BYTES", 1)
    monkeypatch.setattr(fetch_trial, "_gain", lambda *_: left.pop(0))
    assert fetch_trial.measured_choice() == FetchChoice(rows, units, gains)


def test_each_choice_has_kernels_of_its_own() -> None:
    names = []
    for choice in (NEAR, FAR, FetchChoice(True, False)):
        with trying(choice):
            names.append(silu_multiply._cache_name())
    assert len(set(names)) == 3

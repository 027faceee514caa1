"""Other loops change no bit; which ones a machine takes is measured once, and kept beside the kernels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb.errors import UsageError
from ftllm_nb.kernels import loop_choice as choices
from ftllm_nb.kernels import loop_trial
from ftllm_nb.kernels.blocks.matmul import _multiply_by, block_scratch_bytes, tall_is_possible
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.elementwise import silu_multiply
from ftllm_nb.kernels.loop_choice import LoopChoice, loop_choice, trying

NEAR, FAR = LoopChoice(False, False), LoopChoice(True, True)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Nothing was chosen in this process yet; the folder for compiled kernels, which is empty."""
    monkeypatch.delenv(choices.VARIABLE, raising=False)
    monkeypatch.setattr(choices, "kernel_directory", lambda: tmp_path)
    choices._chosen.cache_clear()
    yield tmp_path
    choices._chosen.cache_clear()


@pytest.mark.parametrize(("make", "stride"), [(loop_trial._integer_loop, 9 * 16), (loop_trial._super_loop, 210)])
@pytest.mark.parametrize("columns", [256, 1024, 20480])
def test_near_and_far_give_the_same_bits(make: Callable[[LoopChoice], Kernel], stride: int, columns: int) -> None:
    rng = np.random.default_rng(columns)
    blocks, x = 12, rng.integers(0x11, 0x39, 8 * columns + 4096, np.uint8)
    weights = rng.integers(0x11, 0x39, blocks * columns * stride // 16 + 64, np.uint8)
    outs = []
    for choice in (NEAR, FAR):
        outs.append(np.zeros(16 * blocks, np.float32))
        make(choice)(weights.ctypes.data, blocks, x.ctypes.data, outs[-1].ctypes.data, columns)
    assert outs[0].all() and np.isfinite(outs[0]).all()
    np.testing.assert_array_equal(*outs)


def test_code_differs() -> None:
    """Far asks for lines by another instruction than near."""
    near, far = (loop_trial._integer_loop(choice).assembly().count("prefetcht1") for choice in (NEAR, FAR))
    assert near < far


def test_is_measured_once_and_kept(unmeasured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = LoopChoice(True, False, True, (1.5, 0.9, 1.2))
    monkeypatch.setattr(loop_trial, "measured_choice", lambda: measured)
    assert loop_choice() == measured
    assert [file.name for file in unmeasured.iterdir()] == ["loops.json"]
    choices._chosen.cache_clear()
    monkeypatch.setattr(loop_trial, "measured_choice", lambda: pytest.fail("it was measured again"))
    assert loop_choice() == measured


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"rows": true}', '{"rows": 1, "units": 0, "tall": 0, "gains": [1, 1]}']
)
def test_a_damaged_file_is_measured_again(unmeasured: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (unmeasured / "loops.json").write_text(content)
    measured = LoopChoice(False, True, False, (1.0, 1.2, 0.5))
    monkeypatch.setattr(loop_trial, "measured_choice", lambda: measured)
    assert loop_choice() == measured
    assert json.loads((unmeasured / "loops.json").read_text())["gains"] == [1.0, 1.2, 0.5]


@pytest.mark.parametrize(("word", "choice"), [("near", NEAR), ("far", FAR)])
def test_the_variable_chooses(
    unmeasured: Path, monkeypatch: pytest.MonkeyPatch, word: str, choice: LoopChoice
) -> None:
    monkeypatch.setenv(choices.VARIABLE, word)
    assert loop_choice() == choice
    fetching = f"{word} ahead in rows, {word} ahead in super-blocks"
    assert choice.explain() == f"{fetching}, wide tiles: chosen by FTLLM_NB_FETCH"
    assert not list(unmeasured.iterdir())


def test_what_is_printed() -> None:
    assert LoopChoice(True, False, True, (1.5, 0.8, 1.2)).explain() == (
        "far ahead in rows, near ahead in super-blocks, tall tiles: 1.50, 1.25 and 1.20 × the speed of the other way"
    )


def test_without_memory_nothing_is_measured_and_nothing_kept(
    unmeasured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(loop_trial.np, "full", full)
    usual = loop_trial.current_tier().fetches_far
    assert loop_choice() == LoopChoice(usual, usual)
    assert "not measured" in loop_choice().explain()
    assert not list(unmeasured.iterdir())


def test_another_word_is_refused(unmeasured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choices.VARIABLE, "sometimes")
    with pytest.raises(UsageError, match="FTLLM_NB_FETCH=sometimes: it is near or far, or is not set"):
        loop_choice()


@pytest.mark.parametrize(
    ("usual", "gains", "chosen"),
    [
        (False, (1.04, 1.06, 1.06), (False, True, True)),
        (False, (0.5, 2.0, 1.04), (False, True, False)),
        (True, (0.96, 0.94, 0.5), (True, False, False)),
        (True, (1.3, 1.0, 2.0), (True, True, True)),
    ],
)
def test_only_what_is_clearly_faster_replaces_the_usual(
    monkeypatch: pytest.MonkeyPatch, usual: bool, gains: tuple[float, float, float], chosen: tuple[bool, bool, bool]
) -> None:
    class Tier:
        fetches_far = usual

    left = list(gains)
    monkeypatch.setattr(loop_trial, "current_tier", Tier)
    monkeypatch.setattr(loop_trial, "tall_is_possible", lambda: True)
    monkeypatch.setattr(loop_trial, "_BYTES", 1)
    monkeypatch.setattr(loop_trial, "prepare", lambda loops: None)
    monkeypatch.setattr(loop_trial, "_fetching_gain", lambda *_: left.pop(0))
    monkeypatch.setattr(loop_trial, "_tall_gain", lambda *_: left.pop(0))
    assert loop_trial.measured_choice() == LoopChoice(*chosen, gains)


@pytest.mark.skipif(not tall_is_possible(), reason="the tier's registers hold no tall tile, or AMX takes its place")
@pytest.mark.parametrize("name", ["Q4_K", "Q6_K"])
@pytest.mark.parametrize("rows", [16, 33, 41, 96])
def test_tall_tiles_give_the_same_bits(name: str, rows: int) -> None:
    type = block_types()[name]
    rng = np.random.default_rng(rows)
    columns, blocks = 5 * type.columns, 3
    stride, x_stride = 5 * type.unit_bytes, 2 * columns
    weights = rng.integers(0x11, 0x39, blocks * stride + 64, np.uint8)
    x = rng.integers(0x11, 0x39, rows * x_stride, np.uint8)
    outs = []

    def product_by(multiply: Any, variant: str) -> Kernel:
        @kernel(arguments=("int64",) * 4, variant=variant)
        def product(w, x, out, scratch):  # type: ignore[no-untyped-def]
            multiply(w, stride, blocks, x, x_stride, rows, out, 64 * blocks, out, 64 * blocks, columns,
                     scratch)  # fmt: skip

        return product

    for choice in (LoopChoice(False, False), LoopChoice(False, False, True), LoopChoice(True, True, True)):
        with trying(choice):
            product = product_by(_multiply_by(type), f"{name}_{choice.code()}_{rows}")
            scratch, out = np.zeros(block_scratch_bytes(name), np.uint8), np.zeros((rows, 16 * blocks), np.float32)
            product(weights.ctypes.data, x.ctypes.data, out.ctypes.data, scratch.ctypes.data)
            outs.append(out)
    assert outs[0].all() and np.isfinite(outs[0]).all()
    for other in outs[1:]:
        np.testing.assert_array_equal(outs[0], other)


def test_each_choice_has_kernels_of_its_own() -> None:
    names = []
    for choice in (NEAR, FAR, LoopChoice(True, False), LoopChoice(True, False, True)):
        with trying(choice):
            names.append(silu_multiply._cache_name())
    assert len(set(names)) == 4

"""What a calibration text makes of inputs, the methods that look at it, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ftllm_nb
from ftllm_nb import llm
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.errors import EngineError, UsageError
from ftllm_nb.hadamard import hadamard, weights_share
from ftllm_nb.loading import describe, open_executor
from ftllm_nb.quantization import calibrated
from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.calibration.text import WINDOW, builtin_text, calibration_windows
from ftllm_nb.quantization.calibration.walk import Captured, capture
from ftllm_nb.quantization.grids import Fitter, Grid
from ftllm_nb.quantization.methods import best, gptq, imatrix
from ftllm_nb.quantized_type import QuantizedType
from ftllm_nb.tokenizer import choose_tokenizer
from tests.kernels.kernel_runs import pool
from tests.memory_checkpoint import MemoryCheckpoint
from tests.quantization.test_command import quantize

DEMO = Path(ftllm_nb.__file__).parent / "demo"
LAYER = "model.layers.1."
WINDOWS = [np.random.default_rng(seed).integers(3, 2000, 40).astype(np.int32) for seed in range(3)]


def captured(products: bool = True) -> dict[str, Moments]:
    """Of all matrices of the demo model that products are made with."""
    with open_checkpoint(DEMO) as checkpoint:
        graph = describe(checkpoint)
        wanted = {node.inputs[name].tensor for node in graph.nodes for name in node.products}
        found: dict[str, Moments] = {}
        for layer in capture(graph, checkpoint, WINDOWS, wanted, products=products):
            assert not found.keys() & layer.keys()
            found |= layer
        assert found.keys() == wanted
        return found


def test_inputs_are_those_of_the_model() -> None:
    """The squares of all logits are those of the last product's inputs, seen through its matrix: whatever the layers
    before made of the text counts."""
    found = captured()
    with open_checkpoint(DEMO) as checkpoint:
        graph = describe(checkpoint)
        (name,) = {node.inputs["weight"].tensor for node in graph.nodes if graph.logits in node.outputs.values()}
        types = WeightTypes("float32")
        executor = open_executor(graph, checkpoint, types, kv_cache_dtype="float32", engine="reference")
        squares = np.zeros(graph.vocab_size)
        for ids in WINDOWS:
            sequence = executor.cache.new_sequence()
            squares += np.square(executor.run([SequenceStep(sequence, ids, len(ids))]), dtype=np.float64).sum(0)
            executor.cache.free(sequence)
        matrix, moments = read_float32(checkpoint, name), found[name]
        executor.close()
    assert moments.count == sum(map(len, WINDOWS)) and moments.products is not None
    np.testing.assert_allclose(np.einsum("ij,jk,ik->i", matrix, moments.products, matrix), squares, rtol=1e-3)
    np.testing.assert_allclose(np.diagonal(moments.products), moments.squares, rtol=1e-4)


def test_matrices_that_read_one_value_share_its_moments() -> None:
    found = captured(products=False)
    query, key, value, output = (found[f"{LAYER}self_attn.{name}_proj.weight"] for name in "qkvo")
    assert query is key is value is not output and query.products is None
    assert found[f"{LAYER}mlp.gate_proj.weight"] is found[f"{LAYER}mlp.up_proj.weight"]
    assert found[f"{LAYER}mlp.down_proj.weight"].columns == 768


def test_inputs_that_are_not_finite_are_named() -> None:
    with open_checkpoint(DEMO) as checkpoint:
        graph = describe(checkpoint)
        tensors = {name: read_float32(checkpoint, name).copy() for name in checkpoint.tensors}
        tensors[f"{LAYER}input_layernorm.weight"][:] = 3e38
        broken = MemoryCheckpoint(checkpoint.config, tensors)
        with pytest.raises(EngineError, match="infinite or NaN: the model is damaged, or calibrate with another text"):
            list(capture(graph, broken, WINDOWS, {f"{LAYER}self_attn.q_proj.weight"}, products=False))


def material(count: int) -> tuple[np.ndarray, Moments]:
    """Weights [24, 96], and inputs of which 40 make all, one being always 0 and one much larger than others."""
    random = np.random.default_rng(3)
    inputs = random.standard_normal((count, 40)) @ random.standard_normal((40, 96))
    inputs[:, 5] = 0
    inputs[:, 7] *= 30
    moments = Moments(96, True)
    moments.add(inputs.astype(np.float32))
    return random.standard_normal((24, 96)).astype(np.float32), moments


@pytest.mark.parametrize("count", [7, 2000], ids=["fewer inputs than features", "many"])
def test_gptq_makes_errors_good(count: int) -> None:
    weights, moments = material(count)
    assert moments.products is not None
    kept = moments.products.copy()
    fitter = Fitter(Grid.of(QuantizedType(4, 32)), pool())

    def error(codes: np.ndarray, scales: object) -> float:
        off = weights - fitter.values(codes, scales)  # type: ignore[arg-type]
        return float(np.einsum("ij,jk,ik->", off, kept, off))

    least = error(*imatrix.quantize_matrix(weights, moments, fitter))
    assert error(*gptq.quantize_matrix(weights, moments, fitter)) < 0.6 * least
    np.testing.assert_array_equal(moments.products, kept, "others read the same")


def test_a_second_round_has_less_error() -> None:
    weights, moments = material(2000)
    fitter = Fitter(Grid.of(QuantizedType(4, 32)), pool())
    one, other = (
        gptq.row_errors(weights - fitter.values(*method.quantize_matrix(weights, moments, fitter)), moments)
        for method in (gptq, best)
    )
    assert (other <= one * 1.0001).all() and other.sum() < 0.995 * one.sum()


def test_the_factor_is_that_of_the_inverse() -> None:
    _, moments = material(2000)
    assert moments.products is not None
    factor = gptq.inverse_factor(moments.products.copy(), damping=0.1).astype(np.float64)
    sizes = np.sqrt(np.diagonal(moments.products).astype(np.float64))
    sizes[sizes == 0] = 1
    damped = moments.products / sizes / sizes[:, None]
    np.fill_diagonal(damped, 1.1)
    assert (np.tril(factor, -1) == 0).all()
    np.testing.assert_allclose(factor.T @ factor @ (damped * sizes * sizes[:, None]), np.eye(96), atol=2e-3)


def test_windows_come_from_all_parts_of_a_text() -> None:
    with open_checkpoint(DEMO) as checkpoint:
        tokenizer = choose_tokenizer(DEMO, checkpoint.tokenizer_config, checkpoint.config, {}, warn=pytest.fail)
    text = "\n".join(f"Line {number} says what {number} + 1 is." for number in range(20_000))
    windows, doubts = calibration_windows(text, tokenizer, 8 * WINDOW, 1024, "x")
    assert [len(window) for window in windows] == [WINDOW] * 8 and not doubts
    first = [int(tokenizer.decode(window.tolist()).split()[1]) for window in windows]
    assert first == sorted(first) and first[0] == 0 and first[-1] > 16_000
    few, doubts = calibration_windows(text[:9000], tokenizer, 64 * WINDOW, 1024, "x")
    assert 2 <= len(few) < 32 and "fewer than the 64 that are asked for" in doubts[0]
    with pytest.raises(UsageError, match=r"has \d tokens, and at least 1,0.. are needed"):
        calibration_windows("Hello there.", tokenizer, WINDOW, 1024, "x")


def test_the_builtin_text_is_mixed_and_long() -> None:
    text = builtin_text()
    assert builtin_text() is text, "it is not read again"
    assert len(text) > 300_000 and "助手" in text and "def " in text and "Assistant: " in text


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gptq", "imatrix"])
def test_weights_that_are_spread_stand_for_the_models(tmp_path: Path, method: str) -> None:
    """Packed folders spread weights of 8 bits by Hadamard's matrix before they are rounded."""
    flags = ("--dtype", "int8g64", "--format", "packed", "--method", method, "--calibration_tokens", 1024)
    assert quantize("demo", "-o", tmp_path / "out", *flags).returncode == 0
    with open_checkpoint(DEMO) as model, open_checkpoint(tmp_path / "out") as made:
        name = f"{LAYER}mlp.down_proj.weight"
        assert "int8g64h" in str(made.tensors[name].dtype)
        weights = read_float32(model, name)
        off = read_float32(made, name) - weights
    assert np.sqrt((off**2).mean()) < 0.01 * weights.std()


@pytest.mark.parametrize("products", [True, False])
def test_moments_of_spread_inputs_are_theirs(products: bool) -> None:
    inputs = np.random.default_rng(2).standard_normal((500, 96)).astype(np.float32)
    spread = hadamard(inputs.reshape(500, 3, 32)).reshape(500, 96) * np.float32(weights_share(32) / 32)
    moments, expected = Moments(96, products), Moments(96, products)
    moments.add(inputs)
    expected.add(spread)
    found = moments.spread(32)
    np.testing.assert_allclose(found.squares, expected.squares, rtol=1e-4 if products else 0.3)
    if products:
        np.testing.assert_allclose(found.products, expected.products, atol=1e-3 * expected.squares.max())


@pytest.mark.slow
def test_a_calibrated_folder_answers(tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ("--dtype", "int4g32", "--method", "gptq", "--calibration_tokens", 1024)
    done = quantize("demo", "-o", out, *flags, "-t", 2)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"{out}: 3.7 MB, 5.69 bits a weight")
    with llm.model(str(out)) as model:
        assert "42" in model.response("What is 17 + 25?", temperature=0)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("--dtype", "int4g32", "--method", "gptq", "--calibration_tokens", 1024)

    def stopped(*arguments: Any, **more: Any) -> Iterator[Captured]:
        yield from itertools.islice(capture(*arguments, **more), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrated, "capture", stopped)
    done = quantize("demo", "-o", tmp_path / "stopped", *flags)
    assert done.returncode == 130 and "keeps what was done, for --resume" in done.stderr
    monkeypatch.undo()
    assert quantize("demo", "-o", tmp_path / "stopped", *flags, "--resume").returncode == 0
    assert quantize("demo", "-o", tmp_path / "at_once", *flags).returncode == 0
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("stopped", "at_once"))
    assert one == other


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--calibration", "builtin"), "mse looks at no calibration text: leave that out, or choose --method best or "),
        (("--method", "gptq", "--calibration", "{tmp}/none.txt"), "none.txt cannot be read: No such file or directory"),
        (("--method", "imatrix", "--calibration", "{tmp}/bytes.txt"), "is not UTF-8 (byte 2 is none of it)"),
        (("--method", "imatrix", "--calibration", "{tmp}/short.txt"), "tokens, and at least 1,0"),
    ],
)
def test_a_wrong_text_is_one_sentence(tmp_path: Path, flags: tuple[str, ...], says: str) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"ab\xff")
    (tmp_path / "short.txt").write_text("Hello.")
    done = quantize("demo", "-o", tmp_path / "out", *(flag.format(tmp=tmp_path) for flag in flags))
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert says in done.stderr and not (tmp_path / "out").exists()


def test_refitted_scales_are_the_best() -> None:
    weights, moments = material(2000)
    assert moments.products is not None
    damped = moments.products.astype(np.float64) * (1 + 0.1 * np.eye(96))
    for type in (QuantizedType(4, 32), QuantizedType(4, 32, zero_points=True)):
        fitter = Fitter(Grid.of(type), pool())
        before = fitter.scales(weights, gptq.importance(moments))
        codes = gptq.rounded(weights, moments, fitter, fitter.lines(before))
        codes[3, 32:64] = 8 if before.zeros is None else before.zeros[3, 1]
        units = fitter.units(codes, before)
        made = gptq.refitted(weights, moments, units, before.scales)

        def error(scales: np.ndarray, units: np.ndarray = units) -> float:
            off = weights - units * np.repeat(scales.astype(np.float64), 32, axis=1)
            return float(np.einsum("ij,jk,ik->", off, damped, off))

        assert error(made) < 0.99 * error(before.scales)
        assert made[3, 1] == before.scales[3, 1], "a group of zeros keeps its scale"
        for row, group in ((0, 0), (5, 2), (20, 1)):
            for factor in (0.98, 1.02):
                other = made.copy()
                other[row, group] *= np.float16(factor)
                assert error(made) < error(other)

"""Each architecture against transformers: its logits with all that is special about it, however a text is computed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.models import supported_architectures
from ftllm_nb.verification.with_transformers import continuing, forgets_limits
from tests.executors import ENGINES, open_executor
from tests.oracle.architectures import ARCHITECTURES
from tests.oracle.config_parts import SIZES
from tests.oracle.differences import Differences
from tests.oracle.text_parts import TEXT_PARTS

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch", reason="`make oracle` installs it")
transformers = pytest.importorskip("transformers", reason="`make oracle` installs it")
safetensors = pytest.importorskip("safetensors.torch", reason="`make oracle` installs it")
pytest.importorskip("tests.oracle.torch_models", reason="registers what transformers lacks")

TOLERANCE = 1e-4
"""Of the largest logit, or of 1 where that is less."""
PROMPT, DECODED = 40, 32
ROWS = [(name, number) for name, configs in ARCHITECTURES.items() for number in range(len(configs))]


def test_every_architecture_is_here() -> None:
    assert set(supported_architectures()) == set(ARCHITECTURES) | set(TEXT_PARTS)


def random_model(architecture: str, changes: dict[str, Any], folder: Path) -> Any:
    """A random model of transformers, saved in the folder."""
    return save_random(transformers.AutoModelForCausalLM, architecture, with_sizes(changes), folder)


def with_sizes(changes: dict[str, Any]) -> dict[str, Any]:
    """The entries of a config."""
    return {name: value for name, value in (SIZES | changes).items() if value is not None or name != "head_dim"}


def save_random(auto_model: Any, architecture: str, entries: dict[str, Any], folder: Path) -> Any:
    """A random model, saved in the folder: norms are no ones, biases no zeros, nor is what is no parameter."""
    # Some of transformers' configs add to what they are given.
    config = transformers.AutoConfig.for_model(architecture, **copy.deepcopy(entries))
    torch.manual_seed(7)
    model = auto_model.from_config(config, dtype=torch.float32, attn_implementation="eager")
    saved = model.state_dict()
    with torch.no_grad():
        for tensor in (*model.parameters(), *(each for name, each in model.named_buffers() if name in saved)):
            if not tensor.is_floating_point():
                continue
            if tensor.ndim == 1:
                tensor.add_(0.3 * torch.randn_like(tensor))
            else:
                tensor.copy_(torch.randn_like(tensor) * tensor.shape[-1] ** -0.5)
    model.eval().save_pretrained(folder)
    cut_convolutions(folder)
    return model


def cut_convolutions(folder: Path) -> None:
    """Convolutions of queries, keys and values as models are published, each as large as its projection: transformers
    stacks them, and cuts them into equal parts when it saves."""
    file = folder / "model.safetensors"
    tensors = safetensors.load_file(file)
    for name in [name for name in tensors if name.endswith(".q_conv1d.weight")]:
        parts = [name.replace(".q_conv1d", f".{each}_conv1d") for each in "qkv"]
        rows = [len(tensors[part.replace("_conv1d", "_proj")]) for part in parts]
        stacked = torch.cat([tensors[part] for part in parts])
        tensors |= {part: each.clone() for part, each in zip(parts, stacked.split(rows), strict=True)}
    safetensors.save_file(tensors, file, {"format": "pt"})


def expected_logits(model: Any, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 [1 + DECODED, vocab]: after the prompt, then after each token that follows it."""
    ids = torch.from_numpy(tokens)[None]
    with torch.inference_mode():
        if forgets_limits(model.config):
            return np.asarray(model(ids).logits[0, PROMPT - 1 :].numpy())
        answer = model(ids[:, :PROMPT], use_cache=True)
        rows = [answer.logits[0, -1].numpy()]
        for position in range(PROMPT, len(tokens)):
            step = ids[:, position : position + 1]
            answer = model(step, **continuing(model, answer, position), use_cache=True)
            rows.append(answer.logits[0, -1].numpy())
    return np.stack(rows)


def our_logits(executor: Executor, tokens: NDArray[np.int64], pieces: list[int]) -> NDArray[np.float32]:
    """The same, with the prompt in pieces, beside another sequence in the same steps."""
    sequence, other = executor.cache.new_sequence(), executor.cache.new_sequence()
    ids, rows = tokens.astype(np.int32), []
    cuts = [*np.cumsum(pieces).tolist(), *range(PROMPT + 1, PROMPT + DECODED + 1)]
    for start, end in zip([0, *cuts[:-1]], cuts, strict=True):
        beside = SequenceStep(other, ids[start % 5 : start % 5 + 1], False)
        logits = executor.run([beside, SequenceStep(sequence, ids[start:end], end >= PROMPT)])
        if end >= PROMPT:
            rows.append(logits[0].copy())
    return np.stack(rows)


def after_a_cut(executor: Executor, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """The logits after the prompt, of a sequence that was longer than a saved length and was cut back to it."""
    sequence, ids = executor.cache.new_sequence(), tokens.astype(np.int32)
    executor.cache.save(sequence, 17)
    executor.run([SequenceStep(sequence, ids[:30])])
    executor.cache.truncate(sequence, 17)
    return executor.run([SequenceStep(sequence, ids[17:PROMPT])])[0].copy()


@pytest.mark.parametrize(("architecture", "number"), ROWS, ids=[f"{name}-{number}" for name, number in ROWS])
def test_logits(tmp_path: Path, differences: Differences, architecture: str, number: int) -> None:
    model = random_model(architecture, ARCHITECTURES[architecture][number], tmp_path)
    tokens = np.random.default_rng(number).integers(3, SIZES["vocab_size"], PROMPT + DECODED)
    expected = expected_logits(model, tokens)
    scale = max(1.0, float(np.abs(expected).max()))
    for engine in ENGINES:
        with open_executor(engine, tmp_path) as executor:
            got = our_logits(executor, tokens, [PROMPT])
            if engine == "compiled":
                np.testing.assert_array_equal(our_logits(executor, tokens, [1, 7, 20, 12]), got, "in chunks")
                np.testing.assert_array_equal(after_a_cut(executor, tokens), got[0], "after a cut")
            difference = float(np.abs(got - expected).max()) / scale
        differences.check(f"{architecture}, configuration {number}", engine, difference, TOLERANCE)

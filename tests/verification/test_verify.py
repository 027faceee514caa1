"""`ftllm-nb verify` without torch: beside the built-in graph and a file of values, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.cli import main
from ftllm_nb.engine.float_weights import FloatWeights
from ftllm_nb.errors import FtllmError, OutputError, UsageError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.loading import describe
from ftllm_nb.models import graph_class
from ftllm_nb.ops import gelu_multiply, silu_multiply
from ftllm_nb.verification import with_transformers
from ftllm_nb.verification.causes.arithmetic import oddness
from ftllm_nb.verification.reference import Reference
from ftllm_nb.verification.run import reference_of, verify
from ftllm_nb.verification.values_file import save
from ftllm_nb.verification.verdict import shortened
from ftllm_nb.verification.with_graph import record_graph
from tests.golden.small_models import SMALL_MODELS, tensor, write_checkpoint
from tests.verification.faults import FAULTS, GRAPHS

LLAMA = GRAPHS / "llama.py"
MODEL = "llama_mha"
PLANTED = (
    "scale without the root", "another eps at the end", "k not rotated", "silu of up", "the norm of another place",
    "a residual forgotten", "tied where it is not", "v rotated as well", "another base",
    "a residual twice", "what is normed goes on", "embeddings of positions", "rotary by numbers of its own",
    "feed-forward of attention's norm", "normed twice at the end", "up forgotten", "two norms' weights exchanged",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("models") / MODEL, MODEL, SMALL_MODELS[MODEL])


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return reference_of(folder, custom=LLAMA, against="builtin")


@pytest.fixture(scope="module")
def values(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("values") / "values.npz"
    save(reference, file)
    return file


def planted(name: str, tmp_path: Path) -> Path:
    (fault,) = (each for each in FAULTS if each.model == "llama" and each.name == name)
    file = tmp_path / "faulty.py"
    file.write_text(fault.source, encoding="utf-8")
    return file


def nothing(sentence: str) -> None:
    """Hear warnings, and forget them."""


def test_a_right_file_is_equal(folder: Path, reference: Reference) -> None:
    verdict = verify(folder, custom=LLAMA, against=reference)
    assert verdict.agrees and verdict.logits < 1e-6 and verdict.call is None and verdict.places > 40
    assert "they are equal" in str(verdict)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_named(name: str, folder: Path, reference: Reference, tmp_path: Path) -> None:
    (fault,) = (each for each in FAULTS if each.model == "llama" and each.name == name)
    verdict = verify(folder, custom=planted(name, tmp_path), against=reference, warn=nothing)
    assert not verdict.agrees and verdict.parting is not None and verdict.cause is not None, str(verdict)
    assert fault.cause in verdict.cause.sentence
    assert f"{tmp_path / 'faulty.py'}:{verdict.cause.call.line}" in str(verdict)


def test_what_is_not_read_is_told_where_no_cause_is_found(folder: Path, reference: Reference, tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    text = LLAMA.read_text(encoding="utf-8").replace('config["num_hidden_layers"]', 'config["num_hidden_layers"] - 1')
    file.write_text(text, encoding="utf-8")
    verdict = verify(folder, custom=file, against=reference, warn=nothing)
    assert verdict.cause is None and "model.norm, input of" in str(verdict)
    assert "tensors that no operator reads: model.layers." in str(verdict)


def test_three_weights_each_in_anothers_place(folder: Path, reference: Reference, tmp_path: Path) -> None:
    first, second = '[".input_layernorm.weight"]', '[".post_attention_layernorm.weight"]'
    text = LLAMA.read_text(encoding="utf-8")
    text = text.replace('["model.norm.weight"]', '["model.layers.0.input_layernorm.weight"]')
    text = text.replace(f"layer{second}", 'weight["model.norm.weight"]').replace(first, second)
    file = tmp_path / "model.py"
    file.write_text(text, encoding="utf-8")
    verdict = verify(folder, custom=file, against=reference, warn=nothing)
    assert verdict.cause is not None, str(verdict)
    last = text[: text.index("layers.0.input_layernorm")].count("\n") + 1
    assert verdict.cause.sentence == (
        'weight["model.layers.0.post_attention_layernorm.weight"] is read here as weight, and in the reference '
        f'weight["model.layers.0.input_layernorm.weight"], which RMSNorm at {file}:{last} reads'
    )


@pytest.fixture(scope="module")
def neox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-NeoX model, whose q, k and v of each head lie side by side."""
    folder = tmp_path_factory.mktemp("neox")
    config = SMALL_MODELS[MODEL] | {"model_type": "gpt_neox", "layer_norm_eps": 1e-5, "hidden_act": "gelu"}
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = build_graph(graph_class(config), config).weight_shapes()
    save_file({name: tensor("neox", name, shape) for name, shape in shapes.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", ["three blocks for three of each head", "three blocks of rows"])
def test_heads_of_one_matrix_cut_as_blocks(name: str, neox: Path, tmp_path: Path) -> None:
    (fault,) = (each for each in FAULTS if each.name == name)
    file = tmp_path / "faulty.py"
    file.write_text(fault.source, encoding="utf-8")
    verdict = verify(neox, custom=file, against="builtin", warn=nothing)
    assert verdict.cause is not None and fault.cause in verdict.cause.sentence, str(verdict)
    assert "ExpandHead with 48, 3 · head_dim, before" in verdict.cause.sentence
    assert verdict.cause.logits is not None and verdict.cause.logits < 1e-5


def recorded_of(folder: Path, file: Path) -> Reference:
    """What a file computes on a folder's weights, as the reference."""
    with open_checkpoint(folder) as checkpoint:
        graph = describe(checkpoint, file)
        shapes = {name: tuple(each.shape) for name, each in checkpoint.tensors.items()}
        return record_graph(graph, FloatWeights(checkpoint), shapes, [np.arange(40, dtype=np.int32)], 32)


def test_blocks_of_one_matrix_cut_from_each_head(neox: Path, tmp_path: Path) -> None:
    (fault,) = (each for each in FAULTS if each.name == "three blocks for three of each head")
    file = tmp_path / "right.py"
    file.write_text(fault.source, encoding="utf-8")
    verdict = verify(neox, custom=GRAPHS / "gpt_neox.py", against=recorded_of(neox, file), warn=nothing)
    assert verdict.cause is not None and "are three blocks, of 64, 64, 64 features" in verdict.cause.sentence
    assert verdict.cause.logits is not None and verdict.cause.logits < 1e-5


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose q, k and v lie by key heads, with four query heads each."""
    folder = tmp_path_factory.mktemp("falcon")
    config = SMALL_MODELS[MODEL] | {"model_type": "falcon", "num_hidden_layers": 2, "hidden_size": 64}
    config |= {"num_attention_heads": 8, "num_kv_heads": 2, "layer_norm_epsilon": 1e-5, "head_dim": 8}
    config |= {"hidden_act": "gelu", "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    norms = ["ln_f", *(f"h.{layer}.{name}" for layer in range(2) for name in ("ln_attn", "ln_mlp"))]
    shapes: dict[str, tuple[int, ...]] = {"transformer.word_embeddings.weight": (config["vocab_size"], 64)}
    shapes |= {f"transformer.{norm}.{end}": (64,) for norm in norms for end in ("weight", "bias")}
    for layer in ("transformer.h.0.", "transformer.h.1."):
        shapes |= {f"{layer}mlp.dense_h_to_4h.weight": (80, 64), f"{layer}mlp.dense_4h_to_h.weight": (64, 80)}
        shapes |= {f"{layer}self_attention.query_key_value.weight": (96, 64)}
        shapes |= {f"{layer}self_attention.dense.weight": (64, 64)}
    save_file({name: tensor("falcon", name, shape) for name, shape in shapes.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", ["blocks for groups of heads", "blocks of rows for groups of heads"])
def test_groups_of_heads_of_one_matrix(name: str, falcon: Path, tmp_path: Path) -> None:
    (fault,) = (each for each in FAULTS if each.name == name)
    file, right = tmp_path / "faulty.py", GRAPHS / "falcon.py"
    file.write_text(fault.source, encoding="utf-8")
    verdict = verify(falcon, custom=file, against=recorded_of(falcon, right), warn=nothing)
    assert verdict.cause is not None and fault.cause in verdict.cause.sentence, str(verdict)
    assert "ExpandHead with 48, 6 · head_dim, before" in verdict.cause.sentence
    assert verdict.cause.logits is not None and verdict.cause.logits < 1e-5
    verdict = verify(falcon, custom=right, against=recorded_of(falcon, file), warn=nothing)
    assert verdict.cause is not None and "are three blocks, of 64, 16, 16 features" in verdict.cause.sentence
    assert verdict.cause.logits is not None and verdict.cause.logits < 1e-5


def test_a_factor_is_no_number_of_layers(folder: Path, reference: Reference, tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    text = LLAMA.read_text(encoding="utf-8").replace('weight["model.embed', '0.5 * weight["model.embed', 1)
    file.write_text(text, encoding="utf-8")
    verdict = verify(folder, custom=file, against=reference, warn=nothing)
    assert verdict.cause is not None and verdict.cause.sentence == "theirs is ours times 2"


def test_of_sums_the_plainest_is_told() -> None:
    assert sorted([[2.0, -1.0], [1.0, 2.0], [1.0, 1.0]], key=oddness) == [[1.0, 1.0], [1.0, 2.0], [2.0, -1.0]]


def test_of_many_operators_those_at_both_ends_are_listed() -> None:
    calls = [f"operator {number}" for number in range(30)]
    assert shortened(calls) == [*calls[:12], "… 6 operators more", *calls[18:]]
    assert shortened(calls[:25]) == calls[:25]


def test_other_weights_are_told_from_other_operators(reference: Reference, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", MODEL, SMALL_MODELS[MODEL])
    tensors = load_file(other / "model.safetensors")
    name = "model.embed_tokens.weight"
    save_file({**tensors, name: tensors[name][::-1].copy()}, other / "model.safetensors")
    verdict = verify(other, custom=LLAMA, against=reference, warn=nothing)
    assert verdict.parting is not None and verdict.cause is None
    assert "  what it reads is the same: its weight is another one, another model's or rounded\n" in str(verdict)


def test_a_file_of_values_serves_as_well(folder: Path, values: Path, tmp_path: Path) -> None:
    assert values.stat().st_size < 600_000
    assert verify(folder, custom=LLAMA, against=values).agrees
    verdict = verify(folder, custom=planted("k not rotated", tmp_path), against=values)
    assert verdict.cause is not None and "not rotated" in verdict.cause.sentence
    assert "from a file" in str(verdict)


def test_tokens_one_by_one_are_compared_as_well(folder: Path, tmp_path: Path) -> None:
    """An operator that looks at how many tokens a step has is right for a prompt, and wrong for what follows."""
    file = tmp_path / "model.py"
    text = LLAMA.read_text(encoding="utf-8").replace("class LlamaModel(ComputeGraph):\n", '''
from ftllm_nb.extend import Kind, Operator, Parameter


class Odd(Operator):
    """Twice of a token that comes alone."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input):
        return input

    @staticmethod
    def reference(step, input):
        return input * (2 if input.shape[1] == 1 else 1)


class LlamaModel(ComputeGraph):
    operators = (Odd,)

''')
    file.write_text(text.replace(
        'self.MulTo(data["gate"], data["up"])',
        'self.MulTo(data["gate"], data["up"])\n            self.Odd(data["gate"], data["gate"])',
    ), encoding="utf-8")  # fmt: skip
    verdict = verify(folder, custom=file, against="builtin")
    assert verdict.parting is None and verdict.step_fault is not None and not verdict.agrees
    assert verdict.call is not None and verdict.call.operator.name == "Odd"
    assert "one by one Odd" in str(verdict)


def changed(folder: Path, target: Path, **entries: Any) -> Path:
    """A copy of the model with other entries in its config."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **entries}))
    return target


def refused(error: type[FtllmError], *arguments: Any, **named: Any) -> str:
    with pytest.raises(error) as raised:
        verify(*arguments, **named, warn=nothing)
    sentence = str(raised.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def test_what_is_refused(folder: Path, values: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "leave --prompt out" in refused(UsageError, folder, against=values, prompts=["Hello"])
    assert "there is no file" in refused(UsageError, folder, against="none.npz")
    assert "there is no nowhere" in refused(UsageError, folder, against="nowhere")
    assert "by --custom FILE" in refused(UsageError, folder, against="builtin")
    assert "engine 'fast' is not known" in refused(UsageError, folder, against=values, engine="fast")
    assert "or what reference_of returned, not 3" in refused(UsageError, folder, against=3)
    assert "save must be the path of a file, not 3" in refused(UsageError, folder, against=values, save=3)
    assert "prompts must be a list of texts, not 3" in refused(UsageError, folder, prompts=3)
    assert "prompts must be a list of texts, not [3]" in refused(UsageError, folder, prompts=[3])
    assert "from 1 to 1024, a whole number, not 'x'" in refused(UsageError, folder, against=values, threads="x")
    damaged = tmp_path / "damaged.npz"
    for size in (0, 100, values.stat().st_size // 2):
        damaged.write_bytes(values.read_bytes()[:size])
        assert "is no file of values" in refused(UsageError, folder, against=damaged)
    np.savez(damaged, numbers=np.arange(3))
    assert "is no file of values" in refused(UsageError, folder, against=damaged)
    other = write_checkpoint(tmp_path / "other", "qwen2_gqa", SMALL_MODELS["qwen2_gqa"])
    assert "vocabulary of 128 tokens, and this model one of 131" in refused(UsageError, other, against=values)
    sizes = SMALL_MODELS[MODEL]
    wide = write_checkpoint(tmp_path / "wide", MODEL, sizes | {"hidden_size": 2 * sizes["hidden_size"]})
    assert "has embeddings of 64 features, and this model of 128" in refused(UsageError, wide, against=values)
    large = write_checkpoint(tmp_path / "large", MODEL, sizes | {"intermediate_size": 12})
    assert "gate_proj.weight of [96, 64], and this model's is [12, 64]" in refused(UsageError, large, against=values)
    assert "exists" in refused(OutputError, folder, custom=LLAMA, against="builtin", save=values)
    assert "end with .npz" in refused(OutputError, folder, custom=LLAMA, against="builtin", save=tmp_path / "values")
    assert "does not exist" in refused(OutputError, folder, custom=LLAMA, against="builtin", save="/no/such/a.npz")
    monkeypatch.setattr(with_transformers, "is_installed", lambda: False)
    assert "install ftllm-nb[verify]" in refused(UsageError, folder)
    assert "install ftllm-nb[verify]" in refused(UsageError, folder, against="transformers")
    said: list[str] = []
    assert verify(folder, custom=LLAMA, warn=said.append).agrees
    assert "compared with the built-in one" in said[0]
    unknown = changed(folder, tmp_path / "unknown", model_type="zebra")
    assert "where an architecture here is the model's" in refused(UsageError, unknown, custom=LLAMA)
    sentence = refused(UsageError, unknown, custom=LLAMA, against="builtin")
    assert "no architecture here has the model_type 'zebra'" in sentence


def test_a_context_that_is_shorter_than_what_was_read(folder: Path, values: Path, tmp_path: Path) -> None:
    short = changed(folder, tmp_path / "short", max_position_embeddings=20)
    assert "read 40 tokens, and this model's context holds 20" in refused(UsageError, short, against=values)
    assert verify(short, custom=LLAMA, against="builtin", warn=nothing).agrees


def test_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["verify", str(folder), "-t", "1", "--custom"]
    assert main([*line, str(LLAMA), "--against", "builtin", "--save", "values.npz"]) == 0
    assert "they are equal" in capsys.readouterr().out
    assert main([*line, str(planted("silu of up", tmp_path)), "--against", "values.npz"]) == 1
    out = capsys.readouterr().out
    assert 'likely cause, at Silu (operator' in out and 'data["gate"] and data["up"] are exchanged' in out
    assert main([*line, str(LLAMA), "--against", ""]) == 2
    assert main([*line, str(LLAMA), "--against", "builtin", "--save", "values.npz"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the bundled model, which has a tokenizer."""
    custom = Path(__file__).parents[2] / "examples" / "qwen2.py"
    line = ["verify", "demo", "-t", "1", "--custom", str(custom), "--against", "builtin", "--prompt"]
    assert main([*line, "What is 17 + 25?", "--prompt", "Hello there"]) == 0
    assert "2 texts" in capsys.readouterr().out
    assert main([*line, ""]) == 2
    assert "the prompt is empty" in capsys.readouterr().err
    assert main([*line, "many words " * 2000]) == 2
    assert "context holds" in capsys.readouterr().err
    assert verify("demo", custom=custom, against="builtin", prompts="Hello there", warn=nothing).texts == 1


def test_compiled_kernels_are_compared_as_well(folder: Path, reference: Reference) -> None:
    assert verify(folder, custom=LLAMA, against=reference, engine="compiled").agrees


def test_a_wrong_kernel_is_named_with_the_operators_that_it_stands_for(
    folder: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silu_multiply, "silu_kernels", lambda: gelu_multiply.gelu_kernels(tanh=True))
    verdict = verify(folder, custom=LLAMA, against=reference, engine="compiled")
    said = str(verdict)
    assert not verdict.agrees and verdict.parting is None
    assert verdict.call is not None and verdict.call.operator.name == "MulTo"
    lines, at = LLAMA.read_text().splitlines(), verdict.call.index
    silu, product = (lines.index(next(line for line in lines if name in line)) + 1 for name in ("Silu(", "MulTo("))
    assert "the graph is right, and its kernels are not" in said
    whole = f"Silu (operator {at - 1}) at {LLAMA}:{silu}, MulTo (operator {at}) at {LLAMA}:{product}"
    assert f"they part at {whole}, run as SiluMultiply\n" in said
    assert 'writes data["gate"], which differs by' in said
    assert "please report it" in said


def test_a_wrong_kernel_of_the_files_own_is_named(folder: Path, reference: Reference, tmp_path: Path) -> None:
    source = LLAMA.read_text().replace("self.Silu(", "self.MySilu(")
    assert source.count("self.MySilu(") == 1
    file = tmp_path / "own.py"
    build = "    def build(self)"
    file.write_text(WRONG_KERNEL + source.replace(build, f"    operators = (MySilu,)\n\n{build}", 1))
    assert verify(folder, custom=file, against=reference).agrees
    said = str(verify(folder, custom=file, against=reference, engine="compiled"))
    assert "they part at MySilu (operator 1" in said and "the operator is the file's own: compare its kernel" in said


WRONG_KERNEL = """
import numpy as np

from ftllm_nb.extend import Kind, Operator, Parameter, per_row


class MySilu(Operator):
    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input):
        return input

    @staticmethod
    def reference(step, input):
        return input / (1 + np.exp(-input))

    @per_row
    def kernel(input, output):
        for i in range(input.size):
            output[i] = input[i] / (1 + np.exp(-2 * input[i]))
"""

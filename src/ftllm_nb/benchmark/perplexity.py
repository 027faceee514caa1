"""A text's perplexity by one model in several weight formats, and how far each is from a base: measuring it all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import numpy as np

from ftllm_nb.benchmark.fidelity import Fidelity, Score, compare, judge
from ftllm_nb.benchmark.passages import Passage, chosen_windows, windows
from ftllm_nb.benchmark.speed_test import time_steps
from ftllm_nb.benchmark.workload import size_of
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.sampling import NOT_FINITE
from ftllm_nb.engine_options import EngineOptions, require_one_of
from ftllm_nb.errors import EngineError, UsageError
from ftllm_nb.hub import is_model_name
from ftllm_nb.loading import DEMO, LoadedModel, describe, load, model_folder
from ftllm_nb.quant import weight_formats
from ftllm_nb.quantized_type import QuantizedType
from ftllm_nb.tokenizer.text_file import read_text

DECODE_PROMPT, DECODE_TOKENS = 16, 32
"""Tokens that are read, and those generated after them, to time decode."""

Progress = Callable[[str, int, int], None]
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Contender:
    """A model with its weights in one format: a row of the table. `path` None is the bundled model."""

    name: str
    path: str | None
    dtype: str
    kv_cache_dtype: str

    @property
    def model(self) -> str:
        """What the model is called in sentences, where `name` may be a mere type."""
        return self.path or DEMO


@dataclass(frozen=True)
class Sizes:
    """What a text must fit to be read by a model: ids below `vocab_size`, at most `max_positions` of them."""

    vocab_size: int
    max_positions: int


@dataclass(frozen=True)
class Settings:
    """What to measure. Of `options`, `dtype` and `kv_cache_dtype` are not looked at: each contender has its own. The
    base is of one type throughout, whatever `embedding_dtype` and `dtype_config` say.

    The first contender's tokenizer reads the text, the base's where there is one; `tokenizer` is a folder in its place.
    """

    contenders: Sequence[Contender]
    base: Contender | None
    options: EngineOptions
    custom: str | None = None
    tokenizer: str | None = None
    revision: str | None = None
    cache_dir: str | None = None


@dataclass(frozen=True)
class Material:
    """What contenders are judged on. `over`: what it is, for people."""

    passages: list[Passage]
    over: str

    @property
    def num_tokens(self) -> int:
        """How many tokens are judged."""
        return sum(passage.num_judged for passage in self.passages)


@dataclass(frozen=True)
class Row:
    """What was found of one contender. `fidelity` None: there is no base, or this is it.

    `bits_a_weight` counts all that is in memory: scales, the embedding, norms; `layer_bits_a_weight` leaves the
    embedding and the matrix of logits out. `decode_tokens_per_s`: after a prompt of 16 tokens; None where the context
    holds no more.
    """

    name: str
    megabytes: float
    bits_a_weight: float
    layer_bits_a_weight: float
    score: Score
    fidelity: Fidelity | None
    decode_tokens_per_s: float | None


@dataclass(frozen=True)
class Result:
    """The rows so far, what they were measured over, the name of the base, and whether no row is to come."""

    over: str
    base: str | None
    rows: list[Row]
    is_whole: bool = True


def contenders(path: str | None, dtypes: str, others: Sequence[str], kv_cache_dtype: str) -> list[Contender]:
    """The rows that `--dtype` (names separated by commas) and `--also` (folders) ask for.

    Raises `UsageError` for names that are no types and for a row that is asked for twice.
    """
    names = [name.strip() for name in dtypes.split(",")]
    for name in names:
        require_one_of("dtype", name, ("auto", *weight_formats()))
    rows = [Contender(name, path, name, kv_cache_dtype) for name in names]
    rows += [Contender(other, other, "auto", kv_cache_dtype) for other in others]
    twice = next((row.name for at, row in enumerate(rows) if row in rows[:at]), None)
    if twice is not None:
        raise UsageError(f"{twice} is asked for twice: name each type and each folder once.")
    return rows


def base_contender(path: str | None, base: str) -> Contender:
    """What `--base` names: a type of the model's weights, else a folder (./int8 for one that is called as a type)."""
    if base == "auto" or base in weight_formats():
        return Contender(base, path, base, "float32")
    return Contender(base, base, "auto", "float32")


def windows_of_text(
    file: str, window: int | None, stride: int | None, most: int | None
) -> Callable[[LoadedModel], Material]:
    """What makes windows of a file's text for a model; at most `most` of them, None for all.

    Raises `UsageError` where the text cannot be read; what it returns, where it does not fit.
    """
    text = read_text(file)

    def material(model: LoadedModel) -> Material:
        token_ids = model.tokenizer.encode_completion(text)
        size, step = chosen_windows(token_ids, window, stride, model.executor.max_positions, file)
        passages = windows(token_ids, size, step, model.tokenizer.encode_completion(""))[:most]
        made = Material(passages, "")
        count = f"{len(passages)} window{'' if len(passages) == 1 else 's'}"
        return Material(passages, f"{made.num_tokens} tokens in {count} of {size}, stride {step}")

    return material


def run_perplexity(
    settings: Settings,
    material_of: Callable[[LoadedModel], Material],
    *,
    progress: Progress,
    warn: Warn,
    so_far: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Measure; raises subclasses of `FtllmError`. At most two models are in memory at a time.

    `so_far` is told after each row: measuring goes on for hours, and may be stopped.
    """
    base, options = settings.base, settings.options
    known = check_folders(settings)
    plain = dataclasses.replace(options, embedding_dtype="auto", dtype_config=None)
    found: list[Row] = []
    material: Material | None = None
    rows = [row for row in settings.contenders if row != base or options != plain]

    def add(row: Row) -> Result:
        assert material is not None
        found.append(row)
        is_whole = len(found) == len(rows) + (base is not None)
        result = Result(material.over, base.name if base is not None else None, list(found), is_whole)
        so_far(result)
        return result

    def material_for(model: LoadedModel) -> Material:
        made = material_of(model)
        for row in rows:
            if row in known:
                require_fitting(row, known[row], made, None)
        return made

    with ExitStack() as stack:
        base_engine: EngineThread | None = None
        if base is not None:
            model, base_engine = stack.enter_context(opened(settings, base, plain, progress, warn))
            material = material_for(model)
            result = add(measure(base, model, base_engine, None, material, progress))
        for row in rows:
            with opened(settings, row, options, progress, warn) as (model, engine):
                material = material or material_for(model)
                sizes = Sizes(engine.executor.vocab_size, engine.executor.max_positions)
                require_fitting(row, sizes, material, None if base_engine is None else base_engine.executor.vocab_size)
                result = add(measure(row, model, engine, base_engine, material, progress))
    return result


def check_folders(settings: Settings) -> dict[Contender, Sizes]:
    """Raise what is wrong with folders before anything is measured: a mistake in the last one would show after hours.

    The sizes of all that are folders; what is on the hub is not fetched yet. `UsageError` where the base is to be
    floats of a model that is quantized already, which would be compared with itself, or has another vocabulary.
    """
    base = settings.base
    found: dict[Contender, Sizes] = {}
    for row in ([] if base is None else [base]) + list(settings.contenders):
        if row.path is not None and is_model_name(row.path):
            continue
        with open_checkpoint(model_folder(row.path)) as checkpoint:
            quantized = any(isinstance(info.dtype, QuantizedType) for info in checkpoint.tensors.values())
            if row is base and row.dtype != "auto" and quantized:
                raise UsageError(
                    f"{checkpoint.path} is quantized already, so that it has no weights as {row.dtype} to be compared "
                    "with: name the folder of the float model after --base."
                )
            graph = describe(checkpoint, settings.custom)
        found[row] = Sizes(graph.vocab_size, graph.max_positions)
        expected = None if base is None else found.get(base)
        if base is not None and expected is not None and graph.vocab_size != expected.vocab_size:
            raise another_vocabulary(row, graph.vocab_size, f"the {expected.vocab_size} of {base.model}")
    return found


def another_vocabulary(row: Contender, size: int, expected: str) -> UsageError:
    """The sentence on a model that the text cannot be read by, or be compared over."""
    return UsageError(
        f"{row.model} has a vocabulary of {size} tokens, not {expected}: only models with one tokenizer can be "
        "compared."
    )


@contextmanager
def opened(
    settings: Settings, row: Contender, options: EngineOptions, progress: Progress, warn: Warn
) -> Iterator[tuple[LoadedModel, EngineThread]]:
    """The model in memory and the thread that runs it."""
    model = load(
        row.path,
        dataclasses.replace(options, dtype=row.dtype, kv_cache_dtype=row.kv_cache_dtype),
        graph=settings.custom,
        tokenizer=settings.tokenizer,
        revision=settings.revision if row.name == row.dtype else None,
        cache_dir=settings.cache_dir,
        messages=False,
        progress=progress,
        warn=warn,
    )
    with model.checkpoint, closing(EngineThread(model.executor)) as engine:
        yield model, engine


def require_fitting(row: Contender, sizes: Sizes, material: Material, base_vocab: int | None) -> None:
    """Raise `UsageError` where a model has not the vocabulary or the context of the one that the text was made for."""
    largest = max(int(passage.token_ids.max()) for passage in material.passages)
    if largest >= sizes.vocab_size or base_vocab not in (None, sizes.vocab_size):
        raise another_vocabulary(row, sizes.vocab_size, "the one that the text is compared in")
    longest = max(len(passage.token_ids) for passage in material.passages)
    if longest > sizes.max_positions:
        raise UsageError(f"{row.model} has a context of {sizes.max_positions} tokens, less than the {longest} to read.")


def measure(
    row: Contender,
    model: LoadedModel,
    engine: EngineThread,
    base: EngineThread | None,
    material: Material,
    progress: Progress,
) -> Row:
    """One row of the table; `base` None: nothing to compare with."""
    size = size_of(model.graph, model.weight_types)

    def report(done: int, total: int) -> None:
        progress(row.name, done, total)

    fidelity: Fidelity | None = None
    if base is None:
        score = judge(engine, material.passages, report)
    else:
        score, fidelity = compare(base, engine, material.passages, report)
    if not math.isfinite(score.perplexity):
        raise EngineError(f"{row.name}: {NOT_FINITE}")
    return Row(
        name=row.name,
        megabytes=size.weight_bytes / 1e6,
        bits_a_weight=size.bits_a_weight,
        layer_bits_a_weight=size.layer_bits_a_weight,
        score=score,
        fidelity=fidelity,
        decode_tokens_per_s=engine.call(decode_tokens_per_s),
    )


def decode_tokens_per_s(executor: Executor) -> float | None:
    """Of a single sequence, after a short prompt."""
    if executor.max_positions < DECODE_PROMPT + DECODE_TOKENS:
        return None
    token_ids = np.arange(DECODE_PROMPT + DECODE_TOKENS, dtype=np.int32) % executor.vocab_size
    sequence = executor.cache.new_sequence()
    try:
        time_steps(executor, [sequence], token_ids[:DECODE_PROMPT], DECODE_PROMPT)
        return DECODE_TOKENS / time_steps(executor, [sequence], token_ids[DECODE_PROMPT:], 1)
    finally:
        executor.cache.free(sequence)

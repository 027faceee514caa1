"""A model's float weights as llama.cpp rounds them to its types, and how far its own answers move for it."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, redirect_stdout
from pathlib import Path

import numpy as np

from ftllm_nb.benchmark.fidelity import Score, divergence, log_softmax, score_of, summary
from ftllm_nb.benchmark.passages import Passage
from ftllm_nb.benchmark.perplexity import Row
from ftllm_nb.checkpoint.gguf.file import read_gguf
from ftllm_nb.cli import main as ftllm_nb
from ftllm_nb.errors import UsageError

CHUNK_TOKENS = 128
"""Of a step: the logits of all of them are in memory at once."""
FLOATS = "f32"
_TABLES = ("token_embd.weight", "output.weight")


def files(
    model: Path, dtypes: Sequence[str], folder: Path, threads: int, imatrix: Path | None = None
) -> Iterator[tuple[str, Path]]:
    """The model's floats as a GGUF file, called `FLOATS`, then what llama.cpp makes of it in each of these types, which
    is there until the next one is asked for. `imatrix`: a file that says how much each input counts.

    Raises `UsageError` where llama.cpp is not installed, or knows no such type.
    """
    llama_cpp = installed()
    numbers = {dtype: getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{dtype.upper()}", None) for dtype in dtypes}
    unknown = next((dtype for dtype, number in numbers.items() if number is None), None)
    if unknown is not None:
        raise UsageError(f"llama.cpp has no type {unknown!r}.")
    floats = folder / f"{FLOATS}.gguf"
    with redirect_stdout(sys.stderr):
        status = ftllm_nb(["quantize", str(model), "-o", str(floats), "--dtype", FLOATS])
    if status != 0:
        raise UsageError(f"{model} cannot be written as a GGUF file.")
    yield FLOATS, floats
    for dtype, number in numbers.items():
        file = folder / f"{dtype}.gguf"
        settings = llama_cpp.llama_model_quantize_default_params()
        settings.ftype, settings.nthread = number, threads
        kept = [] if imatrix is None else entries(llama_cpp, imatrix)
        if kept:
            settings.imatrix = (llama_cpp.llama_model_imatrix_data * len(kept))(*kept)
        if llama_cpp.llama_model_quantize(bytes(floats), bytes(file), ctypes.byref(settings)) != 0:
            raise UsageError(f"llama.cpp does not make {dtype} of {model}.")
        yield dtype, file
        file.unlink()


def installed():
    """llama-cpp-python, made silent. Raises `UsageError` where it is not installed."""
    try:
        import llama_cpp
        from engines import llama
    except ImportError:
        raise UsageError("llama.cpp is not installed: run this with the Python of `make peers`.") from None
    llama.quieten()
    return llama_cpp


def entries(llama_cpp, path: Path) -> list:
    """What an importance matrix says, as llama.cpp takes it: an entry a tensor, an empty one at the end."""
    from ftllm_nb.quantization.gguf.imatrix_file import read_imatrix

    found = []
    for name, squares in read_imatrix(path).items():
        values = (ctypes.c_float * len(squares))(*squares.tolist())
        found.append(llama_cpp.llama_model_imatrix_data(name.encode(), values, len(squares)))
    return [*found, llama_cpp.llama_model_imatrix_data(None, None, 0)]


def row_name(dtype: str, imatrix: Path | None) -> str:
    """What a row of the table is called."""
    return f"llama.cpp {dtype}" + (", imatrix" if imatrix is not None else "")


def rows(
    model: Path, dtypes: Sequence[str], passages: Sequence[Passage], threads: int | None, imatrix: Path | None
) -> Iterator[Row]:
    """A row of fidelity.py's table for each type: how far llama.cpp's distributions move from those that it makes of
    the float weights itself. Keys and values are float16 in both."""
    if not dtypes:
        return
    installed()
    from engines import llama
    from subject import Subject

    threads = threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        made = files(model, dtypes, Path(folder), threads, imatrix)
        base = llama.Engine(Subject(gguf=str(next(made)[1])), threads, Path(folder))
        for dtype, file in made:
            with closing(llama.Engine(Subject(gguf=str(file)), threads, Path(folder))) as engine:
                yield judged(row_name(dtype, imatrix), file, base, engine, passages)
        base.close()


def judged(name: str, file: Path, base, engine, passages: Sequence[Passage]) -> Row:
    """The row of a type."""
    divergences, agreements, likelihoods, seconds = [], [], [], 0.0
    for passage in passages:
        base.clear()
        engine.clear()
        here, read = [], passage.token_ids[:-1]
        for begin in range(0, len(read), CHUNK_TOKENS):
            chunk = read[begin : begin + CHUNK_TOKENS]
            skip = max(0, passage.first - 1 - begin)
            log_p = log_softmax(base.all_logits(chunk)[skip:])
            started = time.perf_counter()
            logits = engine.all_logits(chunk)[skip:]
            seconds += time.perf_counter() - started
            log_q = log_softmax(logits)
            here.append(divergence(log_p, log_q))
            agreements.append(log_p.argmax(-1) == log_q.argmax(-1))
            following = passage.token_ids[begin + skip + 1 :][: len(log_q)]
            likelihoods.append(log_q[np.arange(len(following)), following])
        divergences.append(np.concatenate(here))
    score: Score = score_of(np.concatenate(likelihoods), sum(len(each.token_ids) - 1 for each in passages) / seconds)
    whole, layers, megabytes = bits(file)
    return Row(name, megabytes, whole, layers, score, summary(divergences, np.concatenate(agreements)), None)


def bits(file: Path) -> tuple[float, float, float]:
    """Bits a weight of a GGUF file, those without the embedding and the matrix of logits, and megabytes."""
    with closing(read_gguf(str(file))) as model:
        sizes = [(name in _TABLES, tensor.nbytes, int(np.prod(tensor.shape))) for name, tensor in model.tensors.items()]
    nbytes, weights = (sum(each[at] for each in sizes) for at in (1, 2))
    layer_bytes, layer_weights = (sum(each[at] for each in sizes if not each[0]) for at in (1, 2))
    return 8 * nbytes / weights, 8 * layer_bytes / layer_weights, nbytes / 1e6

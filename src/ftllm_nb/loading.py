"""From a path and options to everything that an answer needs: checkpoint, checked graph, tokenizer, executor.

What can be checked without reading weights is checked first, in the order in which a user would look for the
mistake: options, folder, description of the model, tokenizer.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ftllm_nb import engine as engine_package
from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.engine.executor import Executor
from ftllm_nb.errors import CheckpointError, EngineError, UsageError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.custom_file import load_graph_class
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.graph.json_format import graph_class_from_json
from ftllm_nb.host_cores import default_threads, require_threads, worker_count
from ftllm_nb.models import graph_class
from ftllm_nb.tokenizer import Tokenizer, load_tokenizer

Progress = Callable[[str, int, int], None]
"""progress(what, done, total): called while a model loads."""
Warn = Callable[[str], None]
"""Called with each sentence that is worth saying once."""
GraphSource = type[ComputeGraph] | str | PathLike[str]
"""What describes a model: a class, or the path of a file as --custom takes it."""

DEMO = "demo"
"""The name of the bundled model, wherever a model is named."""
INTERMEDIATE_TYPES = ("auto", "float32", "float16", "bfloat16")
CACHE_TYPES = ("float16", "float32")
MOST_NAMES_LISTED = 8


@dataclass
class LoadedModel:
    """Everything that answers need. `threads`: how many workers there really are."""

    checkpoint: Checkpoint
    graph: CheckedGraph
    tokenizer: Tokenizer
    executor: Executor
    threads: int


def load(
    path: str | PathLike[str] | None = None,
    dtype: str = "auto",
    *,
    graph: GraphSource | None = None,
    model_json: str | PathLike[str] | None = None,
    kv_cache_dtype: str = "float16",
    atype: str = "auto",
    threads: int | None = None,
    engine: str = "compiled",
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> LoadedModel:
    """Load a model; the arguments are those of `ftllm_nb.llm.model`. Raises subclasses of `FtllmError`."""
    warn = warn or warn_on_stderr
    workers = check_options(dtype, kv_cache_dtype, atype, engine, threads, warn)
    with ExitStack() as undo:
        checkpoint = undo.enter_context(open_checkpoint(model_folder(path)))
        checked = describe(checkpoint, graph, model_json)
        tokenizer = load_tokenizer(
            checkpoint.path, checked.tokenizer_config, checked.config, checked.generation_config
        )
        for sentence in (*checked.notes, *unread_warning(checked.unread_tensors)):
            warn(sentence)
        executor = open_executor(
            checked,
            checkpoint,
            dtype=dtype,
            kv_cache_dtype=kv_cache_dtype,
            threads=workers,
            engine=engine,
            progress=progress,
        )
        undo.pop_all()
    return LoadedModel(checkpoint, checked, tokenizer, executor, workers)


def check_options(
    dtype: str, kv_cache_dtype: str, atype: str, engine: str, threads: int | None, warn: Warn
) -> int:
    """Check what can be checked without a model; the number of workers. Raises `UsageError`."""
    require_one_of("dtype", dtype, ("auto", *weight_types()))
    require_one_of("kv_cache_dtype", kv_cache_dtype, CACHE_TYPES)
    require_one_of("atype", atype, INTERMEDIATE_TYPES)
    require_one_of("engine", engine, engines())
    threads = default_threads() if threads is None else require_threads(threads)
    if atype not in ("auto", "float32"):
        warn(f"intermediates stay float32: atype {atype} is accepted for command lines written for fastllm.")
    return worker_count(threads, warn)


def model_folder(path: str | PathLike[str] | None) -> Path:
    """The folder that `path` names; None and "demo" name the bundled model."""
    if path is None or path == DEMO:
        folder = Path(str(files("ftllm_nb") / DEMO))
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"the bundled model is missing from {folder}: install ftllm-nb again, or name another model."
            )
        return folder
    if not isinstance(path, (str, PathLike)) or not fspath(path):
        raise UsageError(f"the path of a model must be a folder's path or {DEMO!r}, not {path!r}.")
    return Path(fspath(path))


def describe(
    checkpoint: Checkpoint, graph: GraphSource | None = None, model_json: str | PathLike[str] | None = None
) -> CheckedGraph:
    """The checked graph of a checkpoint: as `graph` or `model_json` says, else its architecture's own."""
    built = build_graph(
        described_by(checkpoint.config, graph, model_json),
        checkpoint.config,
        checkpoint.tokenizer_config,
        checkpoint.generation_config,
    )
    return check_graph(built, checkpoint.tensors)


def described_by(
    config: dict[str, Any], graph: GraphSource | None, model_json: str | PathLike[str] | None
) -> type[ComputeGraph]:
    """The class whose build() describes the model; see `ftllm_nb.llm.model` for the arguments."""
    if graph is not None and model_json is not None:
        raise UsageError("graph and model_json both describe the model: give one of them.")
    if model_json is not None:
        if isinstance(model_json, str) and model_json.lstrip().startswith("{"):
            return graph_class_from_json(model_json, "model_json")
        graph = model_json
    if graph is None:
        return graph_class(config)
    if isinstance(graph, type) and issubclass(graph, ComputeGraph):
        return graph
    if isinstance(graph, (str, PathLike)):
        return load_graph_class(fspath(graph))
    raise UsageError(f"graph must be a class derived from ComputeGraph or the path of a file, not {graph!r}.")


def open_executor(
    graph: CheckedGraph,
    checkpoint: Checkpoint,
    *,
    dtype: str = "auto",
    kv_cache_dtype: str = "float16",
    threads: int = 1,
    engine: str = "compiled",
    progress: Progress | None = None,
) -> Executor:
    """The executor `engine` with this graph and the checkpoint's weights in memory."""
    module = importlib.import_module(f"{engine_package.__name__}.{engine}{_EXECUTOR_SUFFIX}")
    executor_class = getattr(module, f"{engine.capitalize()}Executor")
    try:
        executor: Executor = executor_class(
            graph,
            checkpoint,
            weight_dtype=dtype,
            kv_cache_dtype=kv_cache_dtype,
            threads=threads,
            progress=progress,
        )
    except MemoryError:
        size = sum(checkpoint.tensors[name].nbytes for name in graph.weights)
        raise EngineError(
            f"the memory does not hold the model's weights, {size / 1e9:.1f} GB in its files: close other "
            "programs, or choose a smaller model or --dtype."
        ) from None
    return executor


_EXECUTOR_SUFFIX = "_executor"


def engines() -> tuple[str, ...]:
    """The names that `engine` may have: one for each file `engine/NAME_executor.py`."""
    names = (module.name for module in pkgutil.iter_modules(engine_package.__path__))
    return tuple(name.removesuffix(_EXECUTOR_SUFFIX) for name in names if name.endswith(_EXECUTOR_SUFFIX))


def weight_types() -> tuple[str, ...]:
    """The types that weights may have in memory: one for each file in quant/."""
    from ftllm_nb.quant import weight_formats

    return tuple(weight_formats())


def require_one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Raise `UsageError` unless `value` is one of the known names."""
    known = list(known)
    if value not in known:
        raise UsageError(f"{name} {value!r} is not known: use {', '.join(known[:-1])} or {known[-1]}.")


def stored_type(graph: CheckedGraph) -> str:
    """The type that most of the weights' numbers have in the checkpoint."""
    numbers: Counter[str] = Counter()
    for value in graph.weights.values():
        count = 1
        for axis in range(value.type.rank):
            count *= value.type.size(axis)
        numbers[value.type.dtype] += count
    return numbers.most_common(1)[0][0] if numbers else "float32"


def unread_warning(names: list[str]) -> list[str]:
    """A sentence that lists the tensors that no operator reads, all layers together; [] for none."""
    if not names:
        return []
    kinds = Counter(re.sub(r"\d+", "*", name) for name in names)
    shown = [f"{kind} ({count} tensors)" if count > 1 else kind for kind, count in kinds.items()]
    if len(shown) > MOST_NAMES_LISTED:
        shown[MOST_NAMES_LISTED:] = [f"{len(shown) - MOST_NAMES_LISTED} more kinds"]
    return [f"the checkpoint holds tensors that no operator reads: {', '.join(shown)}."]


def warn_on_stderr(sentence: str) -> None:
    """What `warn` is where nothing else is given."""
    print(f"warning: {sentence}", file=sys.stderr, flush=True)

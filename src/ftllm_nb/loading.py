"""From a path and options to everything that an answer needs: checkpoint, checked graph, tokenizer, executor.

What can be checked without reading weights is checked first, in the order in which a user would look for the
mistake: options, folder, description of the model, tokenizer.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike, fspath
from os.path import lexists
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftllm_nb import engine as engine_package
from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.checkpoint.recognise import refuse_foreign_folder
from ftllm_nb.engine_options import EXECUTOR_SUFFIX, EngineOptions, Warn
from ftllm_nb.errors import CheckpointError, EngineError, FtllmError, UsageError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.custom_file import load_graph_class
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.graph.json_format import graph_class_from_json
from ftllm_nb.graph.unread_tensors import unread_warning
from ftllm_nb.hub import fetch_model, is_model_name
from ftllm_nb.models import graph_class
from ftllm_nb.stores import stored_model
from ftllm_nb.stores.defaults import use_defaults
from ftllm_nb.stores.store import StoredModel
from ftllm_nb.terminal_text import one_printable_line
from ftllm_nb.tokenizer import Tokenizer, choose_tokenizer

if TYPE_CHECKING:
    from ftllm_nb.engine.early_pages import EarlyPages
    from ftllm_nb.engine.executor import Executor
    from ftllm_nb.engine.weight_types import WeightTypes

Progress = Callable[[str, int, int], None]
"""progress(what, done, total): called while a model loads."""
GraphSource = type[ComputeGraph] | str | PathLike[str]
"""What describes a model: a class, or the path of a file as --custom takes it."""

DEMO = "demo"
"""The name of the bundled model, wherever a model is named."""
DEFAULTS = EngineOptions()


@dataclass
class LoadedModel:
    """Everything that answers need. `threads`: how many workers there really are."""

    checkpoint: Checkpoint
    graph: CheckedGraph
    tokenizer: Tokenizer
    executor: Executor
    threads: int
    weight_types: WeightTypes
    kv_cache_dtype: str

    @property
    def weight_dtype(self) -> str:
        """The type that most weights have in memory."""
        from ftllm_nb.engine.weight_types import main_format

        return main_format(self.graph.packed, self.weight_types.formats(self.graph))

    def cached_tokens(self, size: int) -> int:
        """How many tokens of the model's context a KV cache of so many bytes holds."""
        executor = self.executor
        blocks = size // executor.block_bytes
        return executor.cache.most_tokens(blocks, executor.max_step_tokens, self.graph.max_positions)

    def tell_by(self, tell: Warn) -> None:
        """Let sentences on what memory no longer holds, while answers are made, be told so."""
        self.executor.cache.states.tell = tell


@dataclass
class PreparedModel:
    """A model that is checked and has not read its weights yet. `threads`: how many workers there will be;
    `early_pages`: memory that is being taken for the weights."""

    checkpoint: Checkpoint
    graph: CheckedGraph
    tokenizer: Tokenizer
    threads: int
    weight_types: WeightTypes
    options: EngineOptions
    warn: Warn | None = None
    early_pages: EarlyPages | None = None

    def load(self, progress: Progress | None = None) -> LoadedModel:
        """Read the weights. Raises `FtllmError`, and closes the checkpoint where that happens."""
        options = self.options
        with ExitStack() as undo:
            undo.enter_context(self.checkpoint)
            early, self.early_pages = self.early_pages, None
            if early is not None:
                undo.callback(early.finish)
            executor = open_executor(
                self.graph,
                self.checkpoint,
                self.weight_types,
                kv_cache_dtype=options.kv_cache_dtype,
                state_dtype=options.state_dtype,
                threads=self.threads,
                pin=options.pin,
                engine=options.engine,
                progress=progress,
                warn=self.warn,
                early_pages=early,
            )
            executor.cache.states.tell = self.warn or warn_on_stderr
            undo.pop_all()
        return LoadedModel(
            self.checkpoint, self.graph, self.tokenizer, executor, self.threads, self.weight_types,
            options.kv_cache_dtype,
        )  # fmt: skip


def load(
    path: str | PathLike[str] | None = None,
    options: EngineOptions = DEFAULTS,
    *,
    graph: GraphSource | None = None,
    model_json: str | PathLike[str] | None = None,
    tokenizer: str | PathLike[str] | None = None,
    chat_template: str | PathLike[str] | None = None,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    max_context: int | None = None,
    messages: bool = True,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> LoadedModel:
    """Load a model; the arguments are those of `ftllm_nb.llm.model`. Raises subclasses of `FtllmError`.

    `max_context`: the longest sequence that will be asked for, where that is less than the model's. `messages`: whether
    the model will be given any, so that one without a chat template is worth a word.
    """
    prepared = prepare(
        path,
        options,
        graph=graph,
        model_json=model_json,
        tokenizer=tokenizer,
        chat_template=chat_template,
        revision=revision,
        cache_dir=cache_dir,
        max_context=max_context,
        messages=messages,
        warn=warn,
    )
    return prepared.load(progress)


def prepare(
    path: str | PathLike[str] | None,
    options: EngineOptions,
    *,
    graph: GraphSource | None = None,
    model_json: str | PathLike[str] | None = None,
    tokenizer: str | PathLike[str] | None = None,
    chat_template: str | PathLike[str] | None = None,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    max_context: int | None = None,
    messages: bool = True,
    warn: Warn | None = None,
) -> PreparedModel:
    """As `load`, up to the weights: whatever is wrong with a model, but for their values, is raised here."""
    warn = warn or warn_on_stderr
    workers = options.check(warn)
    weight_types = chosen_weight_types(options)
    with ExitStack() as undo:
        folder, stored = located_model(path, revision, cache_dir, warn)
        checkpoint = undo.enter_context(open_checkpoint(folder))
        for sentence in use_defaults(checkpoint, stored) if stored is not None else ():
            warn(sentence)
        checked = describe(checkpoint, graph, model_json, max_context)
        early = None
        if options.engine == "compiled":
            from ftllm_nb.engine.early_pages import pages_for

            early = pages_for(checked, checkpoint, weight_types.formats(checked))
        if early is not None:
            undo.callback(early.finish)
        opened = choose_tokenizer(
            checkpoint.path,
            checked.tokenizer_config,
            checked.config,
            checked.generation_config,
            metadata=checkpoint.tokenizer_metadata,
            given=tokenizer,
            chat_template=chat_template,
            embedding_rows=checked.vocab_size,
            warn=warn,
        )
        kept = weight_types.kept_quantized(checked.weights.values())
        ends = unreachable_ends(opened.eos_token_ids, checked.vocab_size)
        for sentence in (*checkpoint.notes, *checked.notes, *unread_warning(checked.unread_tensors), *kept, *ends):
            warn(sentence)
        if messages and not opened.has_chat_format:
            warn(f"{checkpoint.path} has no chat template: the model is given the messages' text and continues it.")
        warn_of_types(weight_types, options.state_dtype, checked, warn)
        undo.pop_all()
    return PreparedModel(checkpoint, checked, opened, workers, weight_types, options, warn, early)


def warn_of_types(weight_types: WeightTypes, state_dtype: str, graph: CheckedGraph, warn: Warn) -> None:
    """Name the rules of --dtype_config that choose no matrix's type, the types that take more than finer ones, and a
    type of states that no state can have."""
    for rule in weight_types.unused_rules(weight.tensor for weight in graph.packed):
        warn(f"no matrix has a name in which the rule {rule} of the dtype_config is found.")
    for sentence in weight_types.padded_groups(graph):
        warn(sentence)
    if state_dtype == "float16" and not graph.states_of_halves:
        warn("state_dtype float16 changes nothing: this model keeps no matrices of recurrent layers.")


def chosen_weight_types(options: EngineOptions) -> WeightTypes:
    """The format of each matrix, as the options say. Raises `UsageError` for a file of rules that is none."""
    from ftllm_nb.engine.weight_types import WeightTypes, read_rules

    rules = () if options.dtype_config is None else read_rules(options.dtype_config)
    return WeightTypes(options.dtype, options.embedding_dtype, rules, options.atype)


def model_folder(
    path: str | PathLike[str] | None,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    warn: Warn | None = None,
) -> Path:
    """The folder or GGUF file that `path` names; see `located_model`."""
    return located_model(path, revision, cache_dir, warn)[0]


def located_model(
    path: str | PathLike[str] | None,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    warn: Warn | None = None,
) -> tuple[Path, StoredModel | None]:
    """The folder or GGUF file that `path` names, and what the store of another tool says of it where it lies in one.

    None and "demo" name the bundled model. What lies at a path goes first, then what the stores of other tools call
    so, then OWNER/NAME on the hub; with a revision it is always the hub's.
    """
    if path is None or path == DEMO:
        if revision is not None:
            raise UsageError("a revision is of a model on the hub, and the bundled model has none: leave it out.")
        folder = Path(str(files("ftllm_nb") / DEMO))
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"the bundled model is missing from {folder}: install ftllm-nb again, or name another model."
            )
        return folder, None
    if not isinstance(path, (str, PathLike)) or not fspath(path):
        raise UsageError(f"the path of a model must be a folder's path or {DEMO!r}, not {path!r}.")
    warn = warn or warn_on_stderr
    if isinstance(path, str) and revision is None and not lexists(path):
        stored = stored_model(path, warn)
        if stored is not None:
            return stored.path, stored
    if isinstance(path, str) and is_model_name(path):
        return fetch_model(path, revision, cache_dir, warn, refuse_foreign_folder), None
    if revision is not None:
        raise UsageError(f"a revision is of a model on the hub, and {fspath(path)!r} is a folder: leave it out.")
    return Path(fspath(path)), None


def describe(
    checkpoint: Checkpoint,
    graph: GraphSource | None = None,
    model_json: str | PathLike[str] | None = None,
    max_context: int | None = None,
) -> CheckedGraph:
    """The checked graph of a checkpoint: as `graph` or `model_json` says, else its architecture's own."""
    return recorded_and_checked(checkpoint, graph, model_json, max_context)[1]


def recorded_and_checked(
    checkpoint: Checkpoint,
    graph: GraphSource | None = None,
    model_json: str | PathLike[str] | None = None,
    max_context: int | None = None,
) -> tuple[ComputeGraph, CheckedGraph]:
    """The same, with what build() recorded."""
    try:
        built = build_graph(
            described_by(checkpoint.config, graph, model_json),
            checkpoint.config,
            checkpoint.tokenizer_config,
            checkpoint.generation_config,
            checkpoint.tensors,
        )
        checked = check_graph(built, checkpoint.tensors, max_context)
    except FtllmError as error:
        error.args = (_naming_config(str(error), checkpoint),)
        raise
    checked.notes[:] = [_naming_config(note, checkpoint) for note in checked.notes]
    return built, checked


def _naming_config(sentence: str, checkpoint: Checkpoint) -> str:
    """A sentence on config.json, of a model that has none: where one file holds all, its metadata is the config."""
    if checkpoint.tokenizer_metadata is None:
        return sentence
    name = f"the config of {checkpoint.path.name}"
    return sentence.replace("config.json's ", f"in {name}, ").replace("config.json", name)


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
    weight_types: WeightTypes | None = None,
    *,
    kv_cache_dtype: str = "float16",
    state_dtype: str = "float32",
    threads: int = 1,
    pin: bool = False,
    engine: str = "compiled",
    progress: Progress | None = None,
    warn: Warn | None = None,
    early_pages: EarlyPages | None = None,
) -> Executor:
    """The executor `engine` with this graph and the checkpoint's weights in memory, or some of them in its files."""
    from ftllm_nb.engine.in_place import stays_in_place

    module = importlib.import_module(f"{engine_package.__name__}.{engine}{EXECUTOR_SUFFIX}")
    executor_class = getattr(module, f"{engine.capitalize()}Executor")
    weight_types = weight_types or chosen_weight_types(DEFAULTS)
    in_place = stays_in_place(graph, checkpoint, weight_types) if executor_class.maps_experts else None
    if in_place is not None:
        (warn or warn_on_stderr)(in_place)
    try:
        executor: Executor = executor_class(
            graph,
            checkpoint,
            weight_types=weight_types,
            kv_cache_dtype=kv_cache_dtype,
            state_dtype=state_dtype,
            threads=threads,
            pin=pin,
            in_place=in_place is not None,
            progress=progress,
            **({} if early_pages is None else {"early_pages": early_pages}),
        )
    except MemoryError:
        size = sum(checkpoint.tensors[name].nbytes for name in {weight.tensor for weight in graph.weights.values()})
        raise EngineError(
            f"the memory does not hold the model's weights, {shown_bytes(size)} in its files: close other "
            "programs, raise the limit of memory, or choose a smaller model or --dtype."
        ) from None
    return executor


def unreachable_ends(eos_token_ids: Iterable[int], vocab_size: int) -> list[str]:
    """A sentence on the ids that are to end answers and are none of the model's tokens; [] for none."""
    beyond = sorted(each for each in eos_token_ids if each >= vocab_size)
    if not beyond:
        return []
    return [
        f"eos_token_id {', '.join(map(str, beyond))} is beyond the model's vocabulary of {vocab_size} tokens: no "
        "answer ends there."
    ]


def warn_on_stderr(sentence: str) -> None:
    """What `warn` is where nothing else is given."""
    print(f"warning: {one_printable_line(sentence)}", file=sys.stderr, flush=True)

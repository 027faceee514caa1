"""The Python API, with fastllm's names: describe a model with `ComputeGraph`, load it with `model`, talk.

    from ftllm_nb import llm

    with llm.model("Qwen2.5-0.5B-Instruct") as model:
        for piece in model.stream_response("Why is the sky blue?"):
            print(piece, end="", flush=True)

docs/python_api.md lists every name. Importing this module imports little. `ComputeGraph` is imported when it is first
asked for, and NumPy with it, since it knows its operators; Numba and tokenizers are imported, and kernels compiled or
loaded from the cache, by `model`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ftllm_nb.host_cores import default_threads, require_threads
from ftllm_nb.llm.absent import ABSENT_FUNCTIONS, absent

if TYPE_CHECKING:
    from ftllm_nb.graph.compute_graph import ComputeGraph
    from ftllm_nb.llm.model_class import Model

__all__ = ["ComputeGraph", "Model", "get_cpu_threads", "model", "print_ins_info", "set_cpu_threads"]

_chosen_threads: int | None = None


def set_cpu_threads(threads: int) -> None:
    """Let models that are loaded from now on use so many threads, 1 to 1024, unless `model` is told otherwise."""
    global _chosen_threads
    _chosen_threads = require_threads(threads)


def get_cpu_threads() -> int:
    """The threads that a model gets: what `set_cpu_threads` said, else the usable physical cores."""
    return default_threads() if _chosen_threads is None else _chosen_threads


def print_ins_info() -> None:
    """Print the instruction tiers: which the CPU runs, which one is used, and why."""
    from ftllm_nb.kernels.tiers import explain_tiers

    print("\n".join(explain_tiers()))


def model(
    path: str | os.PathLike[str] | None = None,
    id: str = "-99999",
    dtype: str = "auto",
    system_prompt: str | None = None,
    eos_token: Sequence[str] = (),
    tokenizer_type: str = "auto",
    model_json: str | os.PathLike[str] | None = None,
    graph: type[ComputeGraph] | str | os.PathLike[str] | None = None,
    lora: str = "",
    dtype_config: str | os.PathLike[str] | None = None,
    ori_model_path: str = "",
    chat_template: str | os.PathLike[str] | None = None,
    *,
    embedding_dtype: str = "auto",
    kv_cache_dtype: str = "float16",
    state_dtype: str = "float32",
    atype: str = "auto",
    threads: int | None = None,
    pin: bool = False,
    engine: str = "compiled",
    tokenizer: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Model:
    """Load a model.

    `path`: a folder in Hugging Face form; OWNER/NAME, a model on the Hugging Face hub, which is downloaded into
    `cache_dir` (default: the hub's own cache) unless it is there, at `revision` (default: the newest); "demo" or None
    is the bundled model.
    `id`: a name for the caller's own use, `Model.id`.
    `dtype`: type of the weights in memory, "auto" for the folder's own; floats are quantized as they load.
    `system_prompt`: stands before conversations that have no system message.
    `eos_token`: tokens, as the vocabulary spells them, that end an answer besides the model's own.
    `tokenizer_type`: "auto", the only one: the folder's files say what the tokenizer is.
    `model_json`: a graph's JSON file, or the JSON itself. `graph`: what describes the model instead of its
    architecture's built-in description: a `ComputeGraph` class, or a file as `--custom` takes it (.py with
    `__model__`, or .json).
    `lora`, `ori_model_path`: refused with a sentence, unless empty.
    `dtype_config`: a JSON file of exceptions, [{"key": regular expression, "dtype": …}, …]; later ones win.
    `chat_template`: a Jinja template, or the path of a file that holds one, instead of the folder's own.
    `tokenizer`: a folder with tokenizer files that are used instead of the model's own, with its chat template if it
    has one.
    `embedding_dtype`: type of the embedding and of the matrix that makes logits, "auto" for `dtype`, but 8 bits
    where that has 4. `kv_cache_dtype`: "float16", "float32", "int8", "int4", or "int8int4", keys in 8 bits and
    values in 4. `state_dtype`: "float32", or "float16" for half of the memory of recurrent layers' states. `atype`:
    type of intermediates; they are float32 whichever is named, but "bfloat16" lets products with bfloat16 weights
    round what they read.
    `threads`: 1 to 1024, else `get_cpu_threads()`; `pin`: each stays on a core of its own. `engine`: "compiled", or
    "reference" for the NumPy definitions of the operators. `progress(what, done, total)` is called while it loads,
    `warn` with each warning sentence (default: a line on stderr), with one on the cache also later, from the engine's
    thread. Raises subclasses of `FtllmError`.
    """
    from ftllm_nb.engine_options import EngineOptions
    from ftllm_nb.llm.absent import require_absent_arguments
    from ftllm_nb.llm.model_class import Model
    from ftllm_nb.loading import load

    require_absent_arguments(lora=lora, ori_model_path=ori_model_path, tokenizer_type=tokenizer_type)
    options = EngineOptions(
        dtype=dtype,
        embedding_dtype=embedding_dtype,
        dtype_config=dtype_config or None,
        kv_cache_dtype=kv_cache_dtype,
        state_dtype=state_dtype,
        atype=atype,
        threads=get_cpu_threads() if threads is None else threads,
        pin=pin,
        engine=engine,
    )
    loaded = load(
        path,
        options,
        graph=graph,
        model_json=model_json or None,
        tokenizer=tokenizer,
        chat_template=chat_template or None,
        revision=revision,
        cache_dir=cache_dir,
        progress=progress,
        warn=warn,
    )
    return Model(loaded, system_prompt or None, eos_token=eos_token, id=id)


if not TYPE_CHECKING:  # which would take any name for one that exists
    _FOUND_IN = {"ComputeGraph": "ftllm_nb.graph.compute_graph", "Model": "ftllm_nb.llm.model_class"}

    def __getattr__(name: str) -> Any:
        """The classes, imported once; and what fastllm has and a CPU engine cannot: functions that say so."""
        if name in _FOUND_IN:
            found = globals()[name] = getattr(importlib.import_module(_FOUND_IN[name]), name)
            return found
        if name in ABSENT_FUNCTIONS:
            return absent(name, ABSENT_FUNCTIONS[name])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """What editors, `help` and Python's own guesses at mistyped names show: the classes, imported yet or not."""
        return sorted({*globals(), *__all__})

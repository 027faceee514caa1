"""How a model is to be run: the types of its weights and of its cache, threads, the executor; and their checks."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike

from ftllm_nb import engine as engine_package
from ftllm_nb.errors import UsageError
from ftllm_nb.host_cores import default_threads, require_threads, worker_count, worker_cpus
from ftllm_nb.quant import weight_formats

INTERMEDIATE_TYPES = ("auto", "float32", "float16", "bfloat16")
CACHE_TYPES = ("float16", "float32", "int8", "int4", "int8int4")
STATE_TYPES = ("float32", "float16")

Warn = Callable[[str], None]
"""Called with each sentence that is worth saying once."""


@dataclass(frozen=True)
class EngineOptions:
    """`dtype`: of the weights in memory, "auto" for the checkpoint's own; `embedding_dtype`: of the embedding and the
    matrix that makes logits, "auto" for `dtype`, but 8 bits where that has 4; `dtype_config`: a file with exceptions
    (see engine/weight_types.py). `state_dtype`: of the matrices that recurrent layers keep of a sequence. `threads`
    None: the usable physical cores; `pin`: each stays on one of them. `atype`: intermediates are float32 whichever is
    named, but with bfloat16 products with bfloat16 weights round what they read to that, on CPUs with AMX.
    """

    dtype: str = "auto"
    embedding_dtype: str = "auto"
    dtype_config: str | PathLike[str] | None = None
    kv_cache_dtype: str = "float16"
    state_dtype: str = "float32"
    atype: str = "auto"
    threads: int | None = None
    pin: bool = False
    engine: str = "compiled"

    def check(self, warn: Warn) -> int:
        """Check what can be checked without a model; the number of workers. Raises `UsageError`."""
        for name in ("dtype", "embedding_dtype"):
            require_one_of(name, getattr(self, name), ("auto", *weight_formats()))
        require_one_of("kv_cache_dtype", self.kv_cache_dtype, CACHE_TYPES)
        require_one_of("state_dtype", self.state_dtype, STATE_TYPES)
        require_one_of("atype", self.atype, INTERMEDIATE_TYPES)
        require_one_of("engine", self.engine, engines())
        threads = default_threads() if self.threads is None else require_threads(self.threads)
        if self.atype == "float16":
            warn("intermediates stay float32: atype float16 is accepted for command lines written for fastllm.")
        if self.atype == "bfloat16":
            warn("intermediates stay float32: with atype bfloat16 only products with bfloat16 weights round theirs.")
        if self.pin and worker_cpus(1) is None:
            warn("threads are not pinned: this system lets no program choose their cores.")
        return worker_count(threads, warn)


EXECUTOR_SUFFIX = "_executor"


def engines() -> tuple[str, ...]:
    """The names that `engine` may have: one for each file `engine/NAME_executor.py`."""
    names = (module.name for module in pkgutil.iter_modules(engine_package.__path__))
    return tuple(name.removesuffix(EXECUTOR_SUFFIX) for name in names if name.endswith(EXECUTOR_SUFFIX))


def require_one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Raise `UsageError` unless `value` is one of the known names."""
    known = list(known)
    if value not in known:
        raise UsageError(f"{name} {value!r} is not known: use {', '.join(known[:-1])} or {known[-1]}.")

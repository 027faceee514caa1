"""Opens an executor on a folder without tokenizer files, as `ftllm_nb.loading` does on a whole model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftllm_nb import loading
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.engine_options import engines

ENGINES = engines()


@contextmanager
def open_executor(
    engine: str,
    folder: Path,
    *,
    dtype: str = "auto",
    atype: str = "auto",
    kv_cache_dtype: str = "float32",
    threads: int = 2,
) -> Iterator[Executor]:
    """The executor `engine` on a checkpoint, closed afterwards. `threads` is taken as it is, not capped."""
    with open_checkpoint(folder) as checkpoint:
        graph = loading.describe(checkpoint)
        types = WeightTypes(dtype, atype=atype)
        executor = loading.open_executor(
            graph, checkpoint, types, kv_cache_dtype=kv_cache_dtype, threads=threads, engine=engine
        )
        try:
            yield executor
        finally:
            executor.close()

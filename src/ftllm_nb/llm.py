"""The Python API, with fastllm's names: describe a model with `ComputeGraph`, load it with `model`, talk.

    from ftllm_nb import llm

    with llm.model("Qwen2.5-0.5B-Instruct") as model:
        for piece in model.stream_response("Why is the sky blue?"):
            print(piece, end="", flush=True)

Importing this module imports NumPy and Numba, since a `ComputeGraph` knows its operators, but compiles nothing.
Tokenizers are imported, and kernels compiled or loaded from the cache, by `model`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ftllm_nb.errors import UsageError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.host_cores import default_threads, require_threads

if TYPE_CHECKING:
    from ftllm_nb.engine.generation import GenerationStats
    from ftllm_nb.loading import LoadedModel
    from ftllm_nb.tokenizer import Tokenizer

__all__ = ["ComputeGraph", "Model", "get_cpu_threads", "model", "set_cpu_threads"]

_chosen_threads: int | None = None


def set_cpu_threads(n: int) -> None:
    """Let models that are loaded from now on use `n` threads, 1 to 1024, unless `model` is told otherwise."""
    global _chosen_threads
    _chosen_threads = require_threads(n)


def get_cpu_threads() -> int:
    """The threads that a model gets: what `set_cpu_threads` said, else the usable physical cores."""
    return default_threads() if _chosen_threads is None else _chosen_threads


def model(
    path: str | os.PathLike[str] | None = None,
    dtype: str = "auto",
    *,
    graph: type[ComputeGraph] | str | os.PathLike[str] | None = None,
    model_json: str | os.PathLike[str] | None = None,
    embedding_dtype: str = "auto",
    dtype_config: str | os.PathLike[str] | None = None,
    kv_cache_dtype: str = "float16",
    atype: str = "auto",
    threads: int | None = None,
    engine: str = "compiled",
    system_prompt: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Model:
    """Load a model.

    `path`: a folder in Hugging Face form; "demo" or None is the bundled model. `dtype`: type of the weights
    in memory, "auto" for the folder's own; floats are quantized as they load. `embedding_dtype`: of the
    embedding and of the matrix that makes logits, "auto" for `dtype`, but 8 bits where that has 4.
    `dtype_config`: a JSON file of exceptions, [{"key": regular expression, "dtype": …}, …]; later ones win.
    `graph`: what describes the model instead of its architecture's built-in description: a `ComputeGraph` class,
    or a file as `--custom` takes it (.py with `__model__`, or .json). `model_json`: a graph's JSON file, or the
    JSON itself. `kv_cache_dtype`: "float16", "float32" or "int8".
    `atype`: type of intermediates; they are float32 whichever is named, but "bfloat16" lets products with bfloat16
    weights round what they read. `threads`: 1 to 1024, else `get_cpu_threads()`. `engine`: "compiled", or
    "reference" for the NumPy definitions of the operators.
    `system_prompt`: stands before conversations that have no system message. `progress(what, done, total)` is
    called while it loads, `warn` with each warning sentence (default: a line on stderr). Raises subclasses of
    `FtllmError`.
    """
    from ftllm_nb.engine_options import EngineOptions
    from ftllm_nb.loading import load

    options = EngineOptions(
        dtype=dtype,
        embedding_dtype=embedding_dtype,
        dtype_config=dtype_config,
        kv_cache_dtype=kv_cache_dtype,
        atype=atype,
        threads=get_cpu_threads() if threads is None else threads,
        engine=engine,
    )
    loaded = load(path, options, graph=graph, model_json=model_json, progress=progress, warn=warn)
    return Model(loaded, system_prompt)


class Model:
    """A loaded model and one conversation's cache. Closed by `close`, `with`, or when it is forgotten.

    One answer is made at a time; a second one waits for its turn. Any thread may use it.
    """

    def __init__(self, loaded: LoadedModel, system_prompt: str | None = None) -> None:
        from ftllm_nb.engine.engine_thread import EngineThread
        from ftllm_nb.engine.session import Session

        self._loaded = loaded
        self._engine = EngineThread(loaded.executor)
        self._session = Session(self._engine)
        self.system_prompt = system_prompt

    @property
    def config(self) -> dict[str, Any]:
        """config.json, as the model's `build` left it."""
        return self._loaded.graph.config

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids and back."""
        return self._loaded.tokenizer

    @property
    def max_positions(self) -> int:
        """Most tokens that a conversation may hold."""
        return self._loaded.executor.max_positions

    @property
    def threads(self) -> int:
        """The number of worker threads."""
        return self._loaded.threads

    @property
    def stats(self) -> GenerationStats | None:
        """Counts and times of the answer that began last, None before the first."""
        return self._session.stats

    @property
    def stopped(self) -> bool:
        """Whether the answer that began last was stopped before its end."""
        return self.stats is not None and self.stats.finish_reason == "stopped"

    def stream_response(
        self,
        query: str | Sequence[dict[str, Any]],
        history: Sequence[tuple[str, str]] | None = None,
        max_length: int | None = None,
        do_sample: bool | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        temperature: float | None = None,
        repeat_penalty: float | None = None,
        one_by_one: bool = True,
        stop_token_ids: Iterable[int] | None = None,
        *,
        min_p: float | None = None,
        seed: int | None = None,
        enable_thinking: bool | None = None,
    ) -> Generator[str, None, None]:
        """The answer as it is made: new pieces of text, or with `one_by_one=False` all text so far each time.

        `query`: the user's message, with `history` before it, (message, answer) each; or a whole
        conversation, `{"role": …, "content": …}` each. `max_length`: most tokens of the answer. Settings left
        at None are generation_config.json's, else transformers' defaults; `temperature=0` always takes the
        likeliest token, any other sampling argument makes it sample. `stop_token_ids` end the answer besides
        the model's own. `enable_thinking` goes to the chat template, where it is not None.

        Arguments and the prompt's length are checked now (`UsageError`, `ContextLengthError`), the model runs
        from the first piece on. Closing or dropping the iterator stops the answer, as does `stop`.
        """
        from ftllm_nb.engine.sampling_settings import merge_settings, token_id_list

        settings = merge_settings(
            self._loaded.graph.generation_config,
            max_tokens=max_length,
            do_sample=do_sample,
            top_p=top_p,
            top_k=top_k,
            temperature=temperature,
            repetition_penalty=repeat_penalty,
            min_p=min_p,
            seed=seed,
        )
        prompt_ids = self.prompt_ids(query, history, enable_thinking)
        stop_ids = frozenset(token_id_list(stop_token_ids, "stop_token_ids", UsageError))
        token_ids = self._session.generate(prompt_ids, settings, stop_ids | self.tokenizer.eos_token_ids)
        return self._stream_text(token_ids, one_by_one)

    def _stream_text(self, token_ids: Generator[int, None, None], one_by_one: bool) -> Generator[str, None, None]:
        decoder = self.tokenizer.stream_decoder()
        text = ""
        with closing(token_ids):
            for token_id in token_ids:
                piece = decoder.push(token_id)
                if piece:
                    text += piece
                    yield piece if one_by_one else text
        piece = decoder.finish()
        if piece:
            yield piece if one_by_one else text + piece

    def response(
        self,
        query: str | Sequence[dict[str, Any]],
        history: Sequence[tuple[str, str]] | None = None,
        max_length: int | None = None,
        do_sample: bool | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        temperature: float | None = None,
        repeat_penalty: float | None = None,
        stop_token_ids: Iterable[int] | None = None,
        *,
        min_p: float | None = None,
        seed: int | None = None,
    ) -> str:
        """The whole answer; the arguments are `stream_response`'s."""
        return "".join(
            self.stream_response(
                query,
                history,
                max_length,
                do_sample,
                top_p,
                top_k,
                temperature,
                repeat_penalty,
                stop_token_ids=stop_token_ids,
                min_p=min_p,
                seed=seed,
            )
        )

    def prompt_ids(
        self,
        query: str | Sequence[dict[str, Any]],
        history: Sequence[tuple[str, str]] | None = None,
        enable_thinking: bool | None = None,
    ) -> list[int]:
        """The token ids that `stream_response` would run for this query."""
        variables: dict[str, Any] = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        return self.tokenizer.apply_chat_template(self._messages(query, history), **variables)

    def get_input_token_len(
        self, query: str | Sequence[dict[str, Any]], history: Sequence[tuple[str, str]] | None = None
    ) -> int:
        """How many tokens the prompt of this query has."""
        return len(self.prompt_ids(query, history))

    def get_max_input_len(self) -> int:
        """Most tokens that a prompt and its answer may have together."""
        return self.max_positions

    def _messages(
        self, query: str | Sequence[dict[str, Any]], history: Sequence[tuple[str, str]] | None
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        if not isinstance(query, (str, list, tuple)):
            raise UsageError(f"query must be a text or a list of messages, not {query!r}.")
        if not isinstance(history, (list, tuple, type(None))):
            raise UsageError(f"history must be a list of pairs of a message and its answer, not {history!r}.")
        for turn in history or ():
            if not isinstance(turn, (list, tuple)) or len(turn) != 2:
                raise UsageError(f"history must hold pairs of a message and its answer, not {turn!r}.")
            messages += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
        messages += [{"role": "user", "content": query}] if isinstance(query, str) else query
        if not messages:
            raise UsageError("the conversation holds no message: give at least one.")
        # Whether messages have the form that the chat template needs is for the tokenizer to say.
        has_system_message = isinstance(messages[0], dict) and messages[0].get("role") == "system"
        if self.system_prompt is not None and not has_system_message:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        return messages

    def stop(self) -> None:
        """End the answers that are being made; their iterators stop. From any thread or signal handler."""
        self._session.stop()

    def forget(self) -> None:
        """Give the conversation's cache back; the next prompt is computed from its beginning."""
        self._session.forget()

    def close(self) -> None:
        """End what runs and give threads and memory back; the model cannot be used again."""
        self._engine.close()
        self._loaded.checkpoint.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

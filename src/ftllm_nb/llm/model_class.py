"""`Model`: a loaded model that is asked, in fastllm's ways and in Python's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ftllm_nb.errors import EngineError, UsageError
from ftllm_nb.llm.absent import ABSENT_METHODS, absent
from ftllm_nb.llm.answer_events import events_of, request_of
from ftllm_nb.llm.answer_text import text_of
from ftllm_nb.llm.async_stream import iterate_in_thread
from ftllm_nb.llm.handles import Handles
from ftllm_nb.llm.prompts import Prompts
from ftllm_nb.llm.requests import (
    History,
    Query,
    Request,
    cache_bytes,
    end_token_ids,
    holds_ids,
    last_message,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ftllm_nb.answers.events import Event
    from ftllm_nb.answers.style import AnswerStyle
    from ftllm_nb.engine.executor import Executor
    from ftllm_nb.engine.generation import GenerationStats, GenerationTask
    from ftllm_nb.llm.trace import Trace
    from ftllm_nb.loading import LoadedModel

    Logits = NDArray[np.float32]

Result = TypeVar("Result")


class Model(Prompts):
    """A loaded model and one conversation's cache. Closed by `close`, `with`, or when it is forgotten.

    One answer is made at a time; others wait for their turn. Any thread may use it, and asyncio by the methods whose
    names end in `_async`. An answer's arguments, where nothing else is said:

    `query`: the user's message, with `history` before it, (message, answer) each; or a whole conversation,
    `{"role": …, "content": …}` each. `max_length`, `min_length`: most and fewest tokens of the answer. `do_sample`,
    `top_p`, `top_k`, `temperature`, `repeat_penalty`, `min_p`: how tokens are chosen. The defaults are fastllm's: with
    `top_k` 1 the likeliest token is always taken, so give another `top_k` for chance to have a say. None leaves a
    setting to the model's generation_config.json. `stop_token_ids` end the answer besides the model's own.
    `add_generation_prompt`: whether the prompt ends with what begins an answer. `seed`: the same seed, settings and
    prompt give the same answer. `enable_thinking` goes to the chat template, where it is not None.

    They raise `UsageError` for wrong arguments, `ContextLengthError` for a prompt that is too long.
    """

    def __init__(
        self, loaded: LoadedModel, system_prompt: str | None = None, *, eos_token: Sequence[str] = (), id: str = ""
    ) -> None:
        from ftllm_nb.engine.engine_thread import EngineThread
        from ftllm_nb.engine.session import Session

        super().__init__(loaded.tokenizer, system_prompt)
        self._loaded = loaded
        self._engine = EngineThread(loaded.executor)
        self._session = Session(self._engine)
        self._context = loaded.executor.max_positions
        self._end_ids = loaded.tokenizer.eos_token_ids | end_token_ids(loaded.tokenizer, eos_token)
        self._handles = Handles()
        self.id = id

    @property
    def config(self) -> dict[str, Any]:
        """config.json, as the model's `build` left it."""
        return self._loaded.graph.config

    @property
    def max_positions(self) -> int:
        """Most tokens that a conversation may hold."""
        return self._loaded.executor.max_positions

    @property
    def threads(self) -> int:
        """The number of worker threads."""
        return self._loaded.threads

    @property
    def weight_dtype(self) -> str:
        """The type that most weights have in memory."""
        return self._loaded.weight_dtype

    @property
    def loaded(self) -> LoadedModel:
        """What was loaded: the checked graph, the checkpoint, the formats of the weights."""
        return self._loaded

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
        query: Query,
        history: History | None = None,
        max_length: int | None = 8192,
        min_length: int | None = 0,
        do_sample: bool | None = True,
        top_p: float | None = 0.8,
        top_k: int | None = 1,
        temperature: float | None = 1.0,
        repeat_penalty: float | None = 1.0,
        one_by_one: bool = True,
        stop_token_ids: Iterable[int] | None = None,
        add_generation_prompt: bool = True,
        *,
        min_p: float | None = None,
        seed: int | None = None,
        enable_thinking: bool | None = None,
    ) -> Generator[str, None, None]:
        """The answer as it is made: new pieces of text, or with `one_by_one=False` all text so far each time.

        Arguments and the prompt's length are checked now, the model runs from the first piece on. Closing or dropping
        the iterator stops the answer, as does `stop`.
        """
        task = self._prepare(Request(
            query, history, max_length, min_length, do_sample, top_p, top_k, temperature, repeat_penalty,
            stop_token_ids, add_generation_prompt, min_p, seed, enable_thinking,
        ))  # fmt: skip
        return self._text(self._session.answer(task), task, one_by_one)

    def stream_events(
        self, query: Query, history: History | None = None, **settings: Any
    ) -> Generator[Event, None, None]:
        """The answer as it is made, its thinking apart from its content: `Reasoning` and `Content` of
        `ftllm_nb.answers.events`. `settings`: as of `stream_response`; what is missing is the model's own."""
        request = request_of(query, history, settings)
        prompt_ids = self._prompt_of(request)
        task = self._prepare(request, prompt_ids, self._answer_style.stop_token_ids)
        return events_of(self._session.answer(task), task, self._answer_style, prompt_ids)

    def response(
        self,
        query: Query,
        history: History | None = None,
        max_length: int | None = 8192,
        min_length: int | None = 0,
        do_sample: bool | None = True,
        top_p: float | None = 0.8,
        top_k: int | None = 1,
        temperature: float | None = 1.0,
        repeat_penalty: float | None = 1.0,
        stop_token_ids: Iterable[int] | None = None,
        add_generation_prompt: bool = True,
        *,
        min_p: float | None = None,
        seed: int | None = None,
        enable_thinking: bool | None = None,
    ) -> str:
        """The whole answer."""
        return "".join(self.stream_response(
            query, history, max_length, min_length, do_sample, top_p, top_k, temperature, repeat_penalty, True,
            stop_token_ids, add_generation_prompt, min_p=min_p, seed=seed, enable_thinking=enable_thinking,
        ))  # fmt: skip

    def launch_stream_response(
        self,
        query: Query,
        history: History | None = None,
        max_length: int | None = 8192,
        min_length: int | None = 0,
        do_sample: bool | None = True,
        top_p: float | None = 0.8,
        top_k: int | None = 1,
        temperature: float | None = 1.0,
        repeat_penalty: float | None = 1.0,
        stop_token_ids: Iterable[int] | None = None,
        add_generation_prompt: bool = True,
        *,
        min_p: float | None = None,
        seed: int | None = None,
        enable_thinking: bool | None = None,
    ) -> int:
        """Begin an answer, and return its handle for `stream_response_handle` or `abort_handle`."""
        task = self._prepare(Request(
            query, history, max_length, min_length, do_sample, top_p, top_k, temperature, repeat_penalty,
            stop_token_ids, add_generation_prompt, min_p, seed, enable_thinking,
        ))  # fmt: skip
        self._session.begin(task)
        return self._handles.add(task)

    def stream_response_handle(self, handle: int) -> Generator[str, None, None]:
        """The text of a launched answer, piece by piece; once only."""
        task = self._handles.take(handle)
        return self._text(self._session.results(task), task, True)

    def stream_response_handle_async(self, handle: int) -> AsyncGenerator[str, None]:
        """As `stream_response_handle`, for `async for`."""
        task = self._handles.take(handle)
        return iterate_in_thread(
            lambda: self._text(self._session.results(task), task, True), lambda: self._session.cancel(task)
        )

    def abort_handle(self, handle: int) -> None:
        """End a launched answer; whoever streams it gets no more. Harmless once it has ended."""
        if (task := self._handles.find(handle)) is not None:
            self._session.cancel(task)

    def stream_response_async(
        self,
        query: Query,
        history: History | None = None,
        max_length: int | None = 8192,
        min_length: int | None = 0,
        do_sample: bool | None = True,
        top_p: float | None = 0.8,
        top_k: int | None = 1,
        temperature: float | None = 1.0,
        repeat_penalty: float | None = 1.0,
        one_by_one: bool = True,
        stop_token_ids: Iterable[int] | None = None,
        add_generation_prompt: bool = True,
        *,
        min_p: float | None = None,
        seed: int | None = None,
        enable_thinking: bool | None = None,
    ) -> AsyncGenerator[str, None]:
        """As `stream_response`, for `async for`; a cancelled or closed loop stops the answer."""
        task = self._prepare(Request(
            query, history, max_length, min_length, do_sample, top_p, top_k, temperature, repeat_penalty,
            stop_token_ids, add_generation_prompt, min_p, seed, enable_thinking,
        ))  # fmt: skip
        return iterate_in_thread(
            lambda: self._text(self._session.answer(task), task, one_by_one), lambda: self._session.cancel(task)
        )

    def chat(
        self, tokenizer: object, query: Query, history: History | None = None, **settings: Any
    ) -> tuple[str, list[tuple[str, str]]]:
        """The answer, and the history with this turn. `settings`: as of `response`; `tokenizer` is not looked at."""
        answer = self.response(query, history, **settings)
        return answer, [*(history or ()), (last_message(query), answer)]

    def stream_chat(
        self, tokenizer: object, query: Query, history: History | None = None, **settings: Any
    ) -> Generator[tuple[str, list[tuple[str, str]]], None, None]:
        """The answer so far, and the history with it, each time that there is more."""
        with closing(self.stream_response(query, history, one_by_one=False, **settings)) as answers:
            earlier, message = list(history or ()), last_message(query)
            for answer in answers:
                yield answer, [*earlier, (message, answer)]

    def response_logits(self, query: Query, history: History | None = None, tokenizer: object = None) -> Logits:
        """The logits of the token that would follow the prompt: float32 [vocab_size]."""
        return self._session.logits(self.prompt_ids(query, history))

    def logits(self, token_ids: Sequence[int], all: bool = False) -> Logits:
        """The logits after these tokens, float32 [vocab_size]; with `all` after each of them, [tokens, vocab_size]."""
        from ftllm_nb.engine.text_logits import text_logits

        ids = self._session.checked(token_ids)
        if not all:
            return self._session.logits(ids)
        return self.run(lambda executor: text_logits(executor, ids))

    def trace(self, prompt: Query | Sequence[int], history: History | None = None) -> Trace:
        """All values of the graph while it reads a prompt, or these token ids, by the names that build() gave them.

        Operators' NumPy definitions compute them, of the weights as they are in memory, slowly and on the caller's
        thread; keys and values are float32.
        """
        from ftllm_nb.llm.trace import trace_of

        ids = prompt if holds_ids(prompt) else self.prompt_ids(cast("Query", prompt), history)
        return trace_of(self._loaded, self._session.checked(cast("Sequence[int]", ids)))

    def get_max_input_len(self) -> int:
        """Most tokens that a prompt and its answer may have together."""
        return self.max_positions

    def set_kv_cache_limit(self, limit: str | int | float) -> None:
        """Let the KV cache take at most so many bytes ("500m", "2g"), which shortens the context where need be."""
        try:
            left = self._loaded.executor.cache.states.memory.limit_share(cache_bytes(limit), sequences=1)
        except EngineError as error:
            raise UsageError(f"a KV cache of {limit} is not enough: {error}") from None
        tokens = self._loaded.cached_tokens(left)
        if tokens < 1:
            raise UsageError(f"a KV cache of {limit} does not hold a single token of this model: allow more.")
        self._loaded.executor.max_positions = min(self._context, tokens)

    def set_max_batch(self, batch: int) -> None:
        """Accepted for programs written for fastllm: answers are made one after another."""
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise UsageError(f"the largest batch must be a whole number of at least 1, not {batch!r}.")

    def warmup(self) -> None:
        """Run a short prompt and a token, so that the first answer finds everything in memory."""
        from ftllm_nb.engine.sampling_settings import SamplingSettings
        from ftllm_nb.engine.session import Session

        session = Session(self._engine)
        list(session.generate([0, 0], SamplingSettings(max_tokens=2)))
        session.forget()

    def stop(self) -> None:
        """End the answers that are being made; their iterators stop. From any thread or signal handler."""
        self._session.stop()

    def forget(self) -> None:
        """Give the conversation's cache back; the next prompt is computed from its beginning."""
        self._session.forget()

    def release_memory(self) -> None:
        """Give the memory of the KV cache back to the system; the model stays loaded."""
        self.forget()
        self.run(lambda executor: executor.release_memory())

    def run(self, function: Callable[[Executor], Result]) -> Result:
        """What `function` makes of the executor, on the engine thread, after the answers that were asked for before."""
        return self._engine.call(function)

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

    if not TYPE_CHECKING:  # which would take any name for one that exists

        def __getattr__(self, name: str) -> Any:
            """What fastllm has and this engine does not: methods that say so."""
            if name in ABSENT_METHODS:
                return absent(name, ABSENT_METHODS[name])
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @cached_property
    def _answer_style(self) -> AnswerStyle:
        from ftllm_nb.answers.style import AnswerStyle

        return AnswerStyle(self.tokenizer)

    def _prompt_of(self, request: Request) -> list[int]:
        return self.prompt_ids(request.query, request.history, request.enable_thinking, request.add_generation_prompt)

    def _prepare(
        self, request: Request, prompt_ids: list[int] | None = None, end_ids: frozenset[int] = frozenset()
    ) -> GenerationTask:
        """Check a request; its task, which does not run yet. `end_ids` end the answer besides the model's own."""
        from ftllm_nb.engine.sampling_settings import token_id_list

        settings = request.settings(self._loaded.graph.generation_config)
        prompt_ids = prompt_ids if prompt_ids is not None else self._prompt_of(request)
        stop_ids = end_ids | frozenset(token_id_list(request.stop_token_ids, "stop_token_ids", UsageError))
        return self._session.prepare(prompt_ids, settings, stop_ids | self._end_ids)

    def _text(
        self, token_ids: Generator[int, None, None], task: GenerationTask, one_by_one: bool
    ) -> Generator[str, None, None]:
        return text_of(token_ids, task, self.tokenizer, one_by_one)

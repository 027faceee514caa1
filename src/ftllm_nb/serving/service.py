"""The loaded model behind the routes: loading, closing, and the life of each request's answers."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, TypeVar

from ftllm_nb import __version__
from ftllm_nb.answers.call_form import PLAIN
from ftllm_nb.answers.families import DEFAULT
from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.engine.batching import BatchingEngine
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.request import LOOP, Constraint, End, Request, Token
from ftllm_nb.engine.sampling_settings import MAX_SEED, SamplingSettings, merge_settings
from ftllm_nb.engine.scheduler import SchedulerLimits
from ftllm_nb.loading import LoadedModel
from ftllm_nb.serving import request_log
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.cache_room import IdleTimer, limit_cache
from ftllm_nb.serving.choices import Choice, Choices, timings
from ftllm_nb.serving.constraints import Grammars
from ftllm_nb.serving.mailbox import Mailbox
from ftllm_nb.serving.metrics import Metrics
from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.protocol import Sampling
from ftllm_nb.serving.text_pieces import TextPieces
from ftllm_nb.serving.value_forms import MOST_BIAS
from ftllm_nb.tokenizer import Tokenizer

Result = TypeVar("Result")


class Model:
    """A loaded model, and the engine that answers with it."""

    def __init__(self, loaded: LoadedModel, options: ServerOptions) -> None:
        executor = loaded.executor
        self.cache_limit_bytes = limit_cache(executor, options)
        limits = SchedulerLimits(options.max_batch, options.chunked_prefill_size, options.max_context_length)
        self.thread = EngineThread(executor)
        self.engine = BatchingEngine(self.thread, limits, options.max_queue)
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.generation_config = loaded.graph.generation_config
        self.vocab_size = executor.vocab_size
        self.weight_dtype = loaded.weight_dtype
        self.threads = loaded.threads
        self.grammars = Grammars(loaded.tokenizer, executor.vocab_size, options.limits)
        spelled = (loaded.tokenizer.token_bytes(token_id) for token_id in range(loaded.tokenizer.vocab_size))
        self.longest_token = max(map(len, spelled), default=1)
        self.style = _style_of(loaded.tokenizer, options.tool_call_parser)
        loaded.tokenizer.call_spelling = self.style.family.form
        self._loaded = loaded

    def close(self) -> None:
        """End what runs and give threads and memory back."""
        self.thread.close()
        self._loaded.checkpoint.close()


def _style_of(tokenizer: Tokenizer, family_name: str | None) -> AnswerStyle:
    """How the model writes answers. Where its template prints no tools, a system message says how calls are written: in
    the family's form, or in the default one for families whose form is not JSON.
    """
    style = AnswerStyle(tokenizer, family_name)
    if family_name is None and style.family.form is PLAIN and not tokenizer.takes_tools:
        return AnswerStyle(tokenizer, DEFAULT)
    return style


class Service:
    """What the routes share. `model` is None while it loads."""

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.model: Model | None = None
        self.closing = False
        self.created = int(time.time())
        self.metrics = Metrics(lambda: None if self.model is None else self.model.engine)
        self._live: set[Choices] = set()
        self._idle = IdleTimer(options.kv_cache_idle_seconds, self._when_idle)
        # Two, so that one long text does not make short ones wait.
        self._workers = ThreadPoolExecutor(2, thread_name_prefix="ftllm-nb text")

    @cached_property
    def _mailbox(self) -> Mailbox:
        mailbox = Mailbox(asyncio.get_running_loop())
        self.ready_model().engine.after_step = mailbox.wake
        return mailbox

    def ready_model(self) -> Model:
        """The model; ApiError 503 while it loads or when the server is closing."""
        if self.closing:
            raise ApiError(503, "the server is shutting down.", code="closing")
        if self.model is None:
            raise ApiError(503, "the model is still loading.", code="loading")
        return self.model

    def check_name(self, name: str | None) -> None:
        """ApiError 404 unless the name is the model's."""
        if name is not None and name != self.options.model_name:
            message = f"the model {name[:100]!r} does not exist here; there is {self.options.model_name!r}."
            raise ApiError(404, message, param="model", code="model_not_found")

    def head(self, answer_id: str, kind: str, created: int) -> dict[str, Any]:
        """What each response, and each piece of a stream, begins with."""
        return {
            "id": answer_id, "object": kind, "created": created, "model": self.options.model_name,
            "system_fingerprint": self._fingerprint,
        }  # fmt: skip

    @cached_property
    def _fingerprint(self) -> str:
        """Another one where the same request with the same seed may be answered otherwise."""
        model = self.ready_model()
        what = (__version__, self.options.model_name, model.weight_dtype, model.vocab_size)
        return "fp_" + hashlib.blake2b(repr(what).encode(), digest_size=5).hexdigest()

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Work that takes a while, such as tokenizing, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    def settings(self, body: Sampling, max_tokens: int | None, choice: int) -> SamplingSettings:
        """How the choice with this number is sampled: each of several choices has a seed of its own."""
        model = self.ready_model()
        banned = {int(key) for key, bias in (body.logit_bias or {}).items() if bias <= -MOST_BIAS}
        # Who forbids the end wants an answer of a length, whatever it says.
        stop_loops = body.stop_loops
        if stop_loops is None:
            stop_loops = not model.tokenizer.eos_token_ids <= banned
        if body.min_tokens and max_tokens is not None and body.min_tokens > max_tokens:
            raise ApiError(400, f"min_tokens is more than max_tokens, {max_tokens}.", param="min_tokens")
        return merge_settings(
            model.generation_config,
            max_tokens=max_tokens,
            min_tokens=body.min_tokens,
            ignore_eos=body.ignore_eos,
            stop_loops=stop_loops,
            do_sample=body.do_sample,
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=None if body.top_k is None else max(body.top_k, 0),
            min_p=body.min_p,
            presence_penalty=body.presence_penalty,
            frequency_penalty=body.frequency_penalty,
            repetition_penalty=body.repetition_penalty,
            logit_bias=tuple((int(key), bias) for key, bias in (body.logit_bias or {}).items()),
            seed=None if body.seed is None else (body.seed + choice) % (MAX_SEED + 1),
        )

    def new_choices(
        self,
        body: Sampling,
        prompts: list[list[int]],
        *,
        max_tokens: int | None,
        top_logprobs: int | None,
        make_constraint: Callable[[], Constraint | None],
        client: str,
        style: AnswerStyle | None = None,
        prompt_logprobs: int | None = None,
    ) -> Choices:
        """`body.n` choices for each prompt, submitted. Raises what `BatchingEngine.submit` does.

        `style`: the text of the choices' pieces is for its parser; None for plain text. With `max_tokens` 0 prompts are
        read and nothing is answered; `prompt_logprobs`: see `Request`.
        """
        model = self.ready_model()
        stops = model.tokenizer.eos_token_ids if style is None else style.stop_token_ids
        stops = stops.union(body.stop_token_ids or ())
        stop_strings = body.stop_strings
        if style is not None:
            # A tag that is asked for may be a token, or the same written as text.
            stop_strings = list(dict.fromkeys([*stop_strings, *map(style.tags.mark, stop_strings)]))
        choices = Choices(model.engine, self._mailbox)
        for prompt_ids in prompts:
            for number in range(body.n or 1):
                settings = self.settings(body, max_tokens or None, number)
                constraint = make_constraint()

                def make(
                    listen: Callable[[Token | End], None],
                    prompt_ids: list[int] = prompt_ids,
                    settings: SamplingSettings = settings,
                    constraint: Constraint | None = constraint,
                ) -> Request:
                    return Request(
                        prompt_ids,
                        settings,
                        listen,
                        stop_token_ids=stops,
                        constraint=constraint,
                        top_logprobs=top_logprobs,
                        prompt_logprobs=prompt_logprobs,
                        only_prompt=max_tokens == 0,
                        client=client,
                    )

                decoder = model.tokenizer.stream_decoder() if style is None else style.decoder()
                choices.add(make, TextPieces(decoder, stop_strings, settings.min_tokens))
        choices.submit()
        return choices

    @asynccontextmanager
    async def answering(self, choices: Choices, notes: dict[str, Any]) -> AsyncIterator[None]:
        """While a request is answered: it ends in time, at the latest when this is left, and is counted."""
        self._live.add(choices)
        self._idle.stop()
        late = ApiError(504, f"the answer took more than {self.options.request_seconds:g} s.", code="timeout")
        timer = asyncio.get_running_loop().call_later(self.options.request_seconds, choices.abort, late)
        try:
            yield
        finally:
            timer.cancel()
            self._live.discard(choices)
            choices.cancel()
            for choice in choices.choices:
                self.metrics.answer_done(choice.request, _end_of(choice))
            notes.update(_notes(choices.choices))
            if not self._live:
                self._idle.restart()

    def _when_idle(self) -> None:
        """Give the cache's memory back, off the event loop."""
        model = self.model
        if model is None or self.closing or self._live:
            return

        def release() -> None:
            if released := model.engine.release_cache():
                idle = self.options.kv_cache_idle_seconds
                request_log.write_event("cache_released", bytes=released, idle_seconds=idle)

        self._workers.submit(release)

    def close_soon(self) -> None:
        """New requests are refused from now on."""
        self.closing = True

    def end_answers(self) -> None:
        """End what is still being answered, with a sentence."""
        for choices in list(self._live):
            choices.abort(ApiError(503, "the server is shutting down.", code="closing"))

    def close(self) -> None:
        """Give everything back."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        if self.model is not None:
            self.model.close()


def _end_of(choice: Choice) -> str:
    return LOOP if choice.is_loop else choice.reason or "cancelled"


def _notes(choices: list[Choice]) -> dict[str, Any]:
    """What the log says of a request's answers."""
    request = choices[0].request
    return {
        "prompt_tokens": request.prompt_tokens,
        "cached_tokens": request.cached_tokens,
        "answer_tokens": sum(choice.tokens for choice in choices),
        "choices": len(choices),
        "preemptions": sum(choice.request.preemptions for choice in choices),
        "finish_reason": _end_of(choices[0]),
        **{key: value for key, value in timings(choices).items() if key.endswith("_ms")},
    }

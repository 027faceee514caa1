"""Runs the application on uvicorn: the port first, then the model, and an end with a deadline."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from ftllm_nb.errors import UsageError
from ftllm_nb.loading import LoadedModel
from ftllm_nb.serving.application import create_application
from ftllm_nb.serving.http_protocol import AcceptFailures, Protocol, raise_descriptor_limit
from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.service import Model, Service

MARGIN_SECONDS = 5.0
"""Between the sentence that ends an answer and the end of its connection."""


def run_server(options: ServerOptions, load: Callable[[], LoadedModel], say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C. `load` runs on a thread of its own; what it raises is raised here.

    `say` is told where the server listens, and when the model is loaded.
    """
    raise_descriptor_limit()
    listening = bind(options)
    host, port = listening.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/{'v1' if options.title is None else ''}"
    service = Service(options)
    server = _Server(service, options)
    say(f"{address} listens; the model is loading")
    failure: list[BaseException] = []

    def load_model() -> None:
        try:
            model = Model(load(), options)
        except BaseException as error:
            failure.append(error)
            server.should_exit = True
            return
        if server.should_exit:
            model.close()
            return
        service.model = model
        say(
            f"{address} is ready: model {options.model_name}, context {model.engine.max_context} tokens, "
            f"KV cache up to {model.cache_limit_bytes / 1e6:,.0f} MB"
        )

    # uvicorn raises the signal that ended it once more, so that it would kill the process before everything is closed.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    loader = threading.Thread(target=load_model, name="ftllm-nb loader", daemon=True)
    loader.start()
    try:
        server.run(sockets=[listening])
    except Exception:  # what is wrong is told in the end, also where the model is still being loaded
        loader.join()
        raise
    finally:
        if loader.is_alive():
            # Compiled code must not run while the interpreter is taken down, and loading cannot be interrupted.
            sys.stderr.flush()
            os._exit(0)
        loader.join()
        service.close()
    if failure:
        raise failure[0]


def bind(options: ServerOptions) -> socket.socket:
    """A listening socket. UsageError where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio sends a small piece at once, instead of 40 ms later, only on sockets that name their protocol.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"--host {options.host} --port {options.port} cannot be listened on: {reason}; choose another."
        ) from error
    return listening


class _Server(uvicorn.Server):
    """uvicorn, whose answers are ended with a sentence shortly before its own deadline."""

    def __init__(self, service: Service, options: ServerOptions) -> None:
        limits = options.limits

        class TimedProtocol(Protocol):
            headers_seconds = limits.headers_seconds

        super().__init__(
            uvicorn.Config(
                create_application(service),
                http=TimedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=256,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(options.shutdown_seconds + MARGIN_SECONDS),
            )
        )
        self._service = service
        self._seconds = options.shutdown_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM and Ctrl-C: refuse what is new, let answers end within the deadline; a second one ends them now."""
        again = self._service.closing
        self._service.close_soon()
        super().handle_exit(signal.SIGINT if again else sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        asyncio.get_running_loop().set_exception_handler(AcceptFailures())
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._service.close_soon()
        timer = asyncio.get_running_loop().call_later(self._seconds, self._service.end_answers)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()

"""An answer for asyncio: a thread waits for the engine, so that the event loop never does."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress


async def iterate_in_thread(
    start: Callable[[], Iterator[str]], cancel: Callable[[], None]
) -> AsyncGenerator[str, None]:
    """What the iterator gives, as it comes. `cancel` lets the iterator end soon, and is called in any case."""
    import asyncio  # 30 ms of a start, and who awaits an answer has it in memory

    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue()

    def hand_over(item: str | BaseException | None) -> None:
        # The loop may be closed while an abandoned answer comes to its end.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def work() -> None:
        try:
            for piece in start():
                hand_over(piece)
        except BaseException as error:
            hand_over(error)
        else:
            hand_over(None)

    threading.Thread(target=work, name="ftllm-nb answer", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        cancel()

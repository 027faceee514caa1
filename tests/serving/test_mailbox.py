"""What other threads post arrives on the event loop: all of it, in order, with few wakings."""

from __future__ import annotations

import asyncio
import threading

from ftllm_nb.serving.mailbox import Mailbox

POSTED = 20_000


def test_everything_arrives_in_each_threads_order() -> None:
    async def hear() -> None:
        mailbox = Mailbox(asyncio.get_running_loop())
        queues: list[asyncio.Queue[tuple[int, int]]] = [asyncio.Queue(), asyncio.Queue()]

        def post(sender: int) -> None:
            for number in range(POSTED):
                mailbox.post(queues[number % 2], (sender, number))
                mailbox.wake()

        threads = [threading.Thread(target=post, args=(sender,)) for sender in range(2)]
        for thread in threads:
            thread.start()
        for parity, queue in enumerate(queues):
            heard = [await asyncio.wait_for(queue.get(), 30) for _ in range(POSTED)]
            for sender in range(2):
                assert [number for each, number in heard if each == sender] == list(range(parity, POSTED, 2))
            assert queue.empty()
        for thread in threads:
            thread.join()

    asyncio.run(hear())


def test_the_loop_is_woken_once_for_what_comes_together() -> None:
    async def hear() -> None:
        loop = asyncio.get_running_loop()
        wakings = 0
        wake = loop.call_soon_threadsafe

        def counted(*arguments: object) -> object:
            nonlocal wakings
            wakings += 1
            return wake(*arguments)

        loop.call_soon_threadsafe = counted
        mailbox = Mailbox(loop)
        queue: asyncio.Queue[int] = asyncio.Queue()
        mailbox.wake()
        assert wakings == 0, "there is nothing to look at"
        for number in range(16):
            mailbox.post(queue, number)
        await asyncio.sleep(0.01)
        assert queue.empty()
        for _ in range(2):
            mailbox.wake()
        assert [await queue.get() for _ in range(16)] == list(range(16)) and wakings == 1
        mailbox.post(queue, 16)
        mailbox.wake()
        assert await queue.get() == 16 and wakings == 2

    asyncio.run(hear())


def test_nobody_is_told_once_the_loop_is_closed() -> None:
    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    mailbox, queue = Mailbox(asyncio.run(running())), asyncio.Queue[int]()
    for number in range(3):
        mailbox.post(queue, number)
        mailbox.wake()
    assert queue.empty()

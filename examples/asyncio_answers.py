"""Answers under asyncio: the event loop goes on with other work, and a timeout ends an answer.

    python examples/asyncio_answers.py [MODEL]
"""

import asyncio
import sys

from ftllm_nb import llm
from ftllm_nb.errors import FtllmError


async def ask(model, question):
    answer = ""
    async for piece in model.stream_response_async(question):
        answer += piece
    return f"{question} {answer}"


async def talk(model):
    for line in await asyncio.gather(ask(model, "What is 17 + 25?"), ask(model, "What is the capital of France?")):
        print(line)
    try:
        await asyncio.wait_for(ask(model, "Count from 1 to 10."), timeout=0.001)
    except asyncio.TimeoutError:
        print("Counting took too long, and was stopped.")


def main(path="demo"):
    with llm.model(path) as model:
        asyncio.run(talk(model))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FtllmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

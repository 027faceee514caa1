"""Questions from several threads: each gets its own answer, and the model makes one after another.

    python examples/threads.py [MODEL]
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from ftllm_nb import llm
from ftllm_nb.errors import FtllmError

QUESTIONS = ["What is 17 + 25?", "What is the capital of France?", "What is 30 - 12?", "What is 40 + 2?"]


def main(path="demo"):
    with llm.model(path) as model, ThreadPoolExecutor(max_workers=4) as pool:
        for question, answer in zip(QUESTIONS, pool.map(model.response, QUESTIONS), strict=True):
            print(f"{question} {answer}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FtllmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

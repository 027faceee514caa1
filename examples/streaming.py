"""An answer printed as it is made, once with its times, and one that is given up half-way.

    python examples/streaming.py                            # the bundled demo model
    python examples/streaming.py ~/Qwen2.5-0.5B-Instruct
"""

import sys
from contextlib import closing

from ftllm_nb import llm
from ftllm_nb.errors import FtllmError


def main(path="demo"):
    with llm.model(path, system_prompt="You are a helpful assistant.") as model:
        for piece in model.stream_response("What is the capital of France?", max_length=200):
            print(piece, end="", flush=True)
        print()
        stats = model.stats
        print(f"{stats.prompt_tokens} tokens read, {stats.answer_tokens} written", file=sys.stderr)

        # Leaving the loop ends the answer: the model computes no further.
        with closing(model.stream_response("Count from 1 to 10.")) as answer:
            for piece in answer:
                print(piece, end="", flush=True)
                if "5" in piece:
                    break
        print()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FtllmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

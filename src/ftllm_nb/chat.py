"""`python3 -m ftllm_nb.chat …` is `ftllm-nb chat …`."""

import sys

from ftllm_nb.cli import main

if __name__ == "__main__":
    sys.exit(main(["chat", *sys.argv[1:]]))

"""`python3 -m ftllm_nb.server …` is `ftllm-nb server …`."""

import sys

from ftllm_nb.cli import main

if __name__ == "__main__":
    sys.exit(main(["server", *sys.argv[1:]]))

"""`python3 -m ftllm_nb.webui …` is `ftllm-nb webui …`."""

import sys

from ftllm_nb.cli import main

if __name__ == "__main__":
    sys.exit(main(["webui", *sys.argv[1:]]))

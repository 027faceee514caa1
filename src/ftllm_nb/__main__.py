"""`python3 -m ftllm_nb COMMAND …` is `ftllm-nb COMMAND …`."""

import sys

from ftllm_nb.cli import main

if __name__ == "__main__":
    sys.exit(main())

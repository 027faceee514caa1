"""What a user of the scripts beside this one can get wrong: `error: …` and exit status 2, as of ftllm-nb itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ftllm_nb.cli.entry import STATUS_BAD_INPUT, report
from ftllm_nb.errors import FtllmError
from ftllm_nb.kernels.tiers import current_tier


@contextmanager
def one_sentence() -> Iterator[None]:
    """Say errors of the package, and a lack of memory, without a traceback."""
    try:
        yield
    except FtllmError as error:
        raise SystemExit(report(str(error), STATUS_BAD_INPUT, debug=False)) from None
    except MemoryError as error:
        sentence = f"there is not enough memory: {error}."
        raise SystemExit(report(sentence, STATUS_BAD_INPUT, debug=False)) from None


with one_sentence():
    current_tier()  # modules with kernels ask for it when they are imported

"""Files beside the weights that a quantized folder takes from the model's."""

from __future__ import annotations

import fnmatch
import stat
from os import PathLike
from pathlib import Path

from ftllm_nb.checkpoint.files import file_mode, list_folder, reason
from ftllm_nb.errors import CheckpointError, UsageError

CONFIG = "config.json"
COPIED = (
    "tokenizer*", "generation_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "chat_template*", "*.jinja", "processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json",
    "LICENSE*", "NOTICE*",
)  # fmt: skip
"""Files of a model's folder that go into the new one as they are."""


def copied_files(model: Path, custom: str | PathLike[str] | None) -> dict[str, Path]:
    """The files that are copied, by their names in the new folder."""
    copies = {
        name: model / name
        for name in (() if _is_file(model) else list_folder(model))
        if any(fnmatch.fnmatch(name, pattern) for pattern in COPIED) and _is_file(model / name)
    }
    if custom is not None:
        path = Path(custom)
        if not _is_file(path):
            raise UsageError(f"{path} is no file: --custom takes the file that describes the model.")
        name = path.name
        while name in copies or name == CONFIG:
            name = f"custom_{name}"
        copies[name] = path
    for path in copies.values():
        try:
            open(path, "rb").close()
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {reason(error)}.") from None
    return copies


def _is_file(path: Path) -> bool:
    mode = file_mode(path)
    return mode is not None and stat.S_ISREG(mode)

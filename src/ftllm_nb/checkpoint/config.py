"""The JSON files of a model folder: config.json, generation_config.json, tokenizer_config.json, an index."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ftllm_nb.checkpoint.files import file_mode, open_regular, reason
from ftllm_nb.errors import CheckpointError

LARGEST_JSON_FILE = 64 << 20
"""Bytes; the largest tokenizer_config.json in use are about 1 MB, shard indexes about 10 MB."""
DEEPEST_JSON = 64
"""Levels of nesting; real files have about five, and code that walks them recursively must not overflow."""


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; CheckpointError for anything else."""
    with open_regular(path) as file:
        try:
            too_large = os.fstat(file.fileno()).st_size > LARGEST_JSON_FILE
            content = b"" if too_large else file.read()
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {reason(error)}.") from None
    if too_large:
        raise CheckpointError(
            f"{path} is larger than {LARGEST_JSON_FILE >> 20} MB, too large for configuration."
        )
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} is not UTF-8 text: save it as UTF-8, or download it again.") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{path} is not valid JSON (line {error.lineno}, column {error.colno}): correct it or "
            "download it again."
        ) from None
    except ValueError:
        raise CheckpointError(f"{path} holds a number of too many digits: download the file again.") from None
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deeply for configuration.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {_json_kind(value)}, but an object ({{…}}) was expected.")
    if deeper_than(value, DEEPEST_JSON):
        raise CheckpointError(
            f"{path} is nested more than {DEEPEST_JSON} levels deep, too deeply to be used."
        )
    return value


def read_optional_json_object(path: Path) -> dict[str, Any]:
    """As `read_json_object`, but {} where there is no such file."""
    return {} if file_mode(path) is None else read_json_object(path)


def _json_kind(value: object) -> str:
    if isinstance(value, list):
        return "list"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else "boolean" if isinstance(value, bool) else "number"


def deeper_than(value: object, levels: int) -> bool:
    """Whether lists and objects are nested more than `levels` deep."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            child
            for item in layer
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not layer:
            return False
    return True

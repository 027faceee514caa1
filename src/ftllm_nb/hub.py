"""Models by name: from the Hugging Face hub into its cache, only the files that are needed, resumed after a break.

The hub is `HF_ENDPOINT`, or huggingface.co. The cache is the one that huggingface_hub keeps, unless `cache_dir` or
fastllm's `FASTLLM_CACHEDIR` names another. With `HF_HUB_OFFLINE=1`, and where the hub cannot be reached, what is in the
cache is used.
"""

from __future__ import annotations

import fnmatch
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ftllm_nb.errors import HubError

ATTEMPTS = 3
"""How often a download is tried that breaks off, beside what huggingface_hub tries by itself."""
SECONDS_BETWEEN = 1.0
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "quantize_config.json",
    "quant_config.json",
    "hf_quant_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
SINGLE_FILE = "model.safetensors"
SHARDS = ("model.safetensors.index.json", "model-*.safetensors")

GGUF = ".gguf"
USUAL_GGUF = "Q4_K_M"
"""The type of which a repository's file is taken, where it has several and none is named."""
_NO_MODELS = re.compile(r"(^|[-_./])(mmproj|imatrix)([-_.]|$)", re.IGNORECASE)
"""Files beside models in GGUF that are none."""
_PART = re.compile(r"-(?P<number>\d{5})-of-\d{5}$")

_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*(:[\w./-]+)?")


@dataclass(frozen=True)
class CachedModel:
    """A model in the cache; `size`: bytes on disk; `used`: seconds since the epoch."""

    name: str
    size: int
    used: float


def is_model_name(path: str) -> bool:
    """Whether a path is rather the name of a model on the hub: OWNER/NAME, or OWNER/NAME:TYPE for one of its files in
    GGUF, and nothing lies there."""
    is_file = ":" not in path and path.lower().endswith(GGUF)  # a path, as models/m.gguf, to where nothing lies
    return _NAME.fullmatch(path) is not None and not is_file and not os.path.lexists(path)


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the cache: `cache_dir`, else FASTLLM_CACHEDIR, else huggingface_hub's own."""
    given = cache_dir or os.environ.get("FASTLLM_CACHEDIR")
    if given:
        return Path(os.path.expanduser(given))
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def needed_files(names: list[str]) -> list[str]:
    """Those of a repository's files that a model is loaded from: small ones first, then weights in safetensors."""
    patterns = SMALL_FILES + ((SINGLE_FILE,) if SINGLE_FILE in names else SHARDS)
    found = ((name, pattern) for pattern in patterns for name in sorted(fnmatch.filter(names, pattern)))
    return [name for name, pattern in found if name.count("/") == pattern.count("/")]


def gguf_files(names: list[str], kind: str | None) -> list[str]:
    """The files of one model in GGUF, of a repository's files: all parts where it is split, [] for none.

    `kind`: what the file is called, or the end of its name before .gguf and the parts' numbers, as "Q4_K_M", in any
    case; None for `USUAL_GGUF`, or else the first that there is.
    """
    models = [name for name in sorted(names) if name.lower().endswith(GGUF) and not _NO_MODELS.search(name)]
    stems = {name: _PART.sub("", name[: -len(GGUF)]) for name in models}
    wanted = (kind or USUAL_GGUF).lower()
    chosen = next((stems[name] for name in models if _is_called(name, stems[name], wanted)), None)
    if chosen is None and kind is None and models:
        chosen = stems[models[0]]
    return [name for name in models if stems[name] == chosen]


def _is_called(name: str, stem: str, wanted: str) -> bool:
    """Whether a file is asked for by its name, or by the type that its name ends with."""
    file = name.rpartition("/")[2].lower()
    return wanted in (name.lower(), file) or re.search(rf"(^|[-_./]){re.escape(wanted)}$", stem.lower()) is not None


def fetch_model(
    name: str,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
    check: Callable[[Path], None] = lambda folder: None,
) -> Path:
    """The folder of a model, or its GGUF file, downloaded as far as it is not in the cache. Raises `HubError`.

    `name`: OWNER/NAME, or OWNER/NAME:TYPE for one of its files in GGUF (`gguf_files`).

    `check` is given the folder when its small files are there, and may raise before weights are fetched for nothing.
    """
    import huggingface_hub
    from huggingface_hub import constants, errors
    from huggingface_hub.utils.tqdm import disable_progress_bars

    endpoint = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    if not endpoint.startswith(("http://", "https://")):
        raise HubError(f"HF_ENDPOINT is {endpoint!r}: the hub's address is expected, as https://huggingface.co.")
    name, _, kind = name.partition(":")
    if constants.HF_HUB_OFFLINE:
        return _cached(name, kind or None, revision, cache_dir, "HF_HUB_OFFLINE forbids to ask the hub")
    if not sys.stderr.isatty():
        disable_progress_bars()
    where = f"{name} at revision {revision}" if revision else name
    try:
        info = huggingface_hub.HfApi(endpoint=endpoint).model_info(name, revision=revision, timeout=10)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        files = needed_files(names)
        if kind or not any(file.endswith(".safetensors") for file in files):
            parts = _wanted_gguf(name, names, kind or None)
            if parts:
                cache = cache_folder(cache_dir)
                first, *_ = [_download(name, file, revision, cache, endpoint) for file in parts]
                return first
        _require_weights(name, names, files)
        folder = Path()
        for number, file in enumerate(files):
            if number and file.endswith(".safetensors") and not files[number - 1].endswith(".safetensors"):
                check(folder)
            path = _download(name, file, revision, cache_folder(cache_dir), endpoint)
            if file == "config.json":
                folder = path.parent
        return folder
    except HubError:
        raise
    except errors.GatedRepoError:
        raise HubError(
            f"the owner of {name} asks for an agreement: accept it at {endpoint}/{name}, and put your access token "
            "into HF_TOKEN."
        ) from None
    except errors.RevisionNotFoundError:
        raise HubError(f"{name} has no revision {revision!r}: look at {endpoint}/{name}/commits.") from None
    except errors.RepositoryNotFoundError:
        raise HubError(
            f"there is no folder {name} here and no model of that name at {endpoint}, or it is private: "
            "check the name, or put an access token into HF_TOKEN."
        ) from None
    except Exception as error:
        if not _is_about_connection(error):
            raise
        reason = f"{endpoint} cannot be reached ({_in_one_line(error)})"
        folder = _cached(name, kind or None, revision, cache_dir, reason)
        warn(f"{reason}: {where} is taken from the cache.")
        return folder


def cached_models(cache_dir: str | os.PathLike[str] | None = None) -> list[CachedModel]:
    """The models in the cache, by name."""
    from huggingface_hub import scan_cache_dir

    folder = cache_folder(cache_dir)
    if not folder.is_dir():
        return []
    repositories = (each for each in scan_cache_dir(folder).repos if each.repo_type == "model")
    found = [CachedModel(each.repo_id, each.size_on_disk, each.last_accessed) for each in repositories]
    return sorted(found, key=lambda model: model.name.lower())


def _wanted_gguf(name: str, names: list[str], kind: str | None) -> list[str]:
    """`gguf_files`; raises `HubError` where a type is named of which there is none."""
    parts = gguf_files(names, kind)
    if not parts and kind is not None:
        models = [each for each in sorted(names) if each.lower().endswith(GGUF) and not _NO_MODELS.search(each)]
        listed = ", ".join(models[:8]) + (", …" if len(models) > 8 else "")
        has = f"it has {listed}" if models else "it has no files in GGUF"
        raise HubError(f"{name} on the hub has no GGUF file of the type {kind!r}: {has}.")
    return parts


def _require_weights(name: str, names: list[str], files: list[str]) -> None:
    if "config.json" not in files:
        raise HubError(f"{name} on the hub holds no config.json, so it is no model in Hugging Face form.")
    if not any(file.endswith(".safetensors") for file in files):
        others = sorted({Path(each).suffix for each in names} & {".bin", ".gguf", ".pth", ".pt", ".onnx"})
        kinds = f" but {' and '.join(others)} files" if others else ""
        raise HubError(f"{name} on the hub holds no weights as safetensors{kinds}: choose another model.")


def _download(name: str, file: str, revision: str | None, cache: Path, endpoint: str) -> Path:
    """One file's path in the cache; a connection that breaks is taken up again where it ended."""
    from huggingface_hub import hf_hub_download

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Path(hf_hub_download(name, file, revision=revision, cache_dir=cache, endpoint=endpoint))
        except Exception as error:
            if not _is_about_connection(error):
                raise
            if attempt == ATTEMPTS:
                raise HubError(
                    f"the download of {file} of {name} broke off ({_in_one_line(error)}): "
                    "give the same command again."
                ) from None
            time.sleep(SECONDS_BETWEEN)
    raise AssertionError("the last attempt returns or raises")


def _cached(
    name: str, kind: str | None, revision: str | None, cache_dir: str | os.PathLike[str] | None, reason: str
) -> Path:
    from huggingface_hub import errors, snapshot_download, try_to_load_from_cache

    folder = cache_folder(cache_dir)
    try:
        held = Path(snapshot_download(name, revision=revision, cache_dir=folder, local_files_only=True))
    except (errors.LocalEntryNotFoundError, ValueError):
        held = None
    if held is not None and (kind is not None or not any(held.rglob("*.safetensors"))):
        parts = gguf_files([str(file.relative_to(held)) for file in held.rglob("*")], kind)
        if parts:
            return held / parts[0]
        if kind is not None:
            raise HubError(f"{reason}, and {folder} holds no GGUF file of the type {kind!r} of {name}.")
    config = try_to_load_from_cache(name, "config.json", cache_dir=folder, revision=revision)
    if not isinstance(config, str):
        raise HubError(f"{reason}, {folder} does not hold {name}, and there is no folder of that name here.")
    present = [str(file.relative_to(Path(config).parent)) for file in Path(config).parent.rglob("*")]
    if not any(file.endswith(".safetensors") for file in present):
        raise HubError(f"{reason}, and {folder} holds only a part of {name}.")
    return Path(config).parent


def _is_about_connection(error: BaseException) -> bool:
    """Whether the network failed, as the libraries below huggingface_hub say it; they have changed over time."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        response = getattr(error, "response", None)
        return response is None or response.status_code >= 500
    package = type(error).__module__.split(".")[0].rstrip("0123456789")
    return isinstance(error, (ConnectionError, TimeoutError, errors.LocalEntryNotFoundError)) or package in (
        "requests", "urllib", "httpx", "httpcore"
    )  # fmt: skip


def _in_one_line(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__ or error
    text = " ".join(str(cause).split()) or type(cause).__name__
    return text if len(text) <= 160 else f"{text[:159]}…"

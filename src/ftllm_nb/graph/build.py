"""Running a build(): errors become sentences at the user's line."""

from __future__ import annotations

import traceback
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

from ftllm_nb.errors import FtllmError, GraphError
from ftllm_nb.graph.call import graph_error
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.nearest import did_you_mean
from ftllm_nb.graph.source import called_by


def build_graph(
    graph_class: type[ComputeGraph],
    config: dict[str, Any],
    tokenizer_config: dict[str, Any] | None = None,
    generation_config: dict[str, Any] | None = None,
    checkpoint_names: Collection[str] = (),
) -> ComputeGraph:
    """An instance whose build() has run; the dicts are copied. Raises `GraphError` at the user's line."""
    name, file = graph_class.__name__, _file_of(graph_class)
    try:
        graph = graph_class(config, tokenizer_config, generation_config)
    except FtllmError:
        raise
    except (Exception, SystemExit) as error:
        raise user_error(error, f"{name}(config, tokenizer_config, generation_config)", file) from error
    graph.checkpoint_names = checkpoint_names
    try:
        graph.build()
    except FtllmError:
        raise
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise user_error(error, f"{name}.build()", file, config) from error
        line = graph_class.build.__code__.co_firstlineno  # it was not entered
        raise graph_error(f"{name}.build() must take nothing but self: def build(self).", file, line) from error
    except (Exception, SystemExit) as error:
        raise user_error(error, f"{name}.build()", file, config) from error
    for what in ("config", "tokenizer_config", "generation_config"):
        if not isinstance(getattr(graph, what, None), dict):
            raise graph_error(f"{name}.build() must leave self.{what} a dict.", file, None)
    return graph


def user_error(
    error: BaseException, what: str, file: str, config: dict[str, Any] | None = None
) -> GraphError:
    """A `GraphError` for an exception that a user's code raised, at its innermost line in `file` or in one beside it.

    `config`: a KeyError for a name that this lacks is one about the config.
    """
    frames = _users_frames(error.__traceback__, file)
    caller, line = _caller(frames, file), frames[-1].lineno if frames else None
    file = frames[-1].filename if frames else file
    begin = f"{caller}: " if caller else ""
    if isinstance(error, SystemExit):
        return graph_error(f"{what} ended the program (sys.exit); it may only describe a model.", file, line)
    if isinstance(error, KeyError) and config and error.args and error.args[0] not in config:
        name = str(error.args[0])
        return graph_error(f'{begin}config.json has no entry "{name}"{did_you_mean(name, config)}', file, line)
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    forgotten = isinstance(error, NameError) and error.name == ComputeGraph.__name__
    remedy = ": begin the file with from ftllm.llm import ComputeGraph" if forgotten else ""
    return graph_error(f"{begin}{what} raised {reason.rstrip('.')}{remedy}.", file, line)


def _file_of(graph_class: type[ComputeGraph]) -> str:
    return graph_class.build.__code__.co_filename


def _users_frames(trace: TracebackType | None, file: str) -> list[traceback.FrameSummary]:
    """What was being executed of a file and of those that it imports from beside it, the innermost last."""
    folder, package = Path(file).resolve().parent, Path(__file__).parents[1]

    def is_users(frame: traceback.FrameSummary) -> bool:
        path = Path(frame.filename).resolve()
        beside = path.is_relative_to(folder) and not path.is_relative_to(package)
        made_by_exec = frame.filename.startswith("<")
        return frame.filename == file or (beside and not made_by_exec and "site-packages" not in path.parts)

    return [frame for frame in traceback.extract_tb(trace) if is_users(frame)]


def _caller(frames: list[traceback.FrameSummary], file: str) -> str:
    """`called_by` of a user's build() that called what was being executed; "" where build() itself was."""
    if Path(file).is_relative_to(Path(__file__).parents[1]):
        return ""
    built = next((frame for frame in frames if frame.name == "build"), None)
    if built is None or built is frames[-1] or built.lineno is None:
        return ""
    return called_by(built.filename, built.lineno, frames[-1].filename)

"""Loading a model that a user describes in a file: `--custom model.py` or `--custom model.json`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from ftllm_nb.errors import FtllmError, UsageError
from ftllm_nb.graph.build import user_error
from ftllm_nb.graph.call import graph_error
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.json_format import graph_class_from_json

_ALIASES = ("ftllm", "ftllm.llm")
_PUBLIC_API = "ftllm_nb.llm"
_importing = threading.RLock()
_beside: dict[str, ModuleType] = {}
"""What the last custom file imported from its own folder."""


def load_graph_class(path: str | Path) -> type[ComputeGraph]:
    """The graph class of a file: a Python file's `__model__`, or the program of a JSON file.

    Raises `UsageError` for a path that is no readable file, `GraphError` for a file that describes no graph.
    """
    if not str(path):
        raise UsageError("the path of the custom model is empty: name a Python or a JSON file.")
    path = Path(os.path.expanduser(path))
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f'there is no file "{path}"; a custom model is a Python or a JSON file.') from None
    except OSError as error:
        raise UsageError(f'the custom model "{path}" cannot be read: {error.strerror}.') from error
    if path.suffix.lower() == ".json":
        return graph_class_from_json(source, str(path))
    return _graph_class_of(_execute(source, path), path)


def _execute(source: bytes, path: Path) -> ModuleType:
    """The file's module. While it is loaded, `ftllm` and `ftllm.llm` mean this package, and what lies beside the file
    can be imported."""
    file = str(path)
    module = ModuleType(f"ftllm_nb_custom_{path.stem}")
    module.__file__ = file
    try:
        code = compile(source, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise graph_error(f"no valid Python: {error.msg}.", file, error.lineno) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise graph_error(f"no valid Python: {error}.", file, None) from error
    with _importing, _fastllm_aliased(), _neighbours(path.resolve().parent):
        # Registered, since dataclasses and inspect look classes up through their module.
        sys.modules[module.__name__] = module
        try:
            exec(code, vars(module))
        except FtllmError:
            raise
        except (Exception, SystemExit) as error:
            raise user_error(error, "the file", file) from error
    return module


def _graph_class_of(module: ModuleType, path: Path) -> type[ComputeGraph]:
    file = str(path)
    if not hasattr(module, "__model__"):
        candidates = [
            member.__name__
            for member in vars(module).values()
            if inspect.isclass(member) and issubclass(member, ComputeGraph) and member is not ComputeGraph
        ]
        example = candidates[-1] if candidates else "YourModel"
        raise graph_error(f"no __model__: end the file with __model__ = {example}.", file, None)
    found = module.__model__
    if isinstance(found, ComputeGraph):
        name = type(found).__name__
        raise graph_error(f"__model__ must be the class and no instance of it: write __model__ = {name}.", file, None)
    if not inspect.isclass(found):
        raise graph_error(f"__model__ must be a class that derives from ComputeGraph, but it is {found!r}.", file, None)
    if not issubclass(found, ComputeGraph):
        raise graph_error(f"__model__ = {found.__name__} does not derive from ComputeGraph.", file, None)
    return found


@contextmanager
def _fastllm_aliased() -> Iterator[None]:
    """Let `ftllm` and `ftllm.llm` be this package, even where fastllm is installed; then put them back."""
    modules = sys.modules.copy()  # other threads may import meanwhile
    hidden = {
        name: module for name, module in modules.items() if name == "ftllm" or name.startswith("ftllm.")
    }
    for name in hidden:
        del sys.modules[name]
    package, api = ModuleType("ftllm"), sys.modules.get(_PUBLIC_API)
    if api is None:
        api = ModuleType("ftllm.llm")
        vars(api)["ComputeGraph"] = ComputeGraph
    package.__path__ = []
    vars(package)["llm"] = api
    sys.modules["ftllm"], sys.modules["ftllm.llm"] = package, api
    try:
        yield
    finally:
        for name in _ALIASES:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """Let files in the folder be imported, as by a program there.

    They stay imported, for kernels are named by what they were compiled from; the next custom file imports its own.
    """
    for name, module in _beside.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    _beside.clear()
    before, here = sys.modules.copy(), _names_in(folder)
    hidden = {name: before.pop(name) for name in here if name in before and not _lies_in(folder, before[name])}
    for name in hidden:
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(str(folder))
        for name, module in sys.modules.copy().items():
            if name not in before and name.partition(".")[0] in here and _lies_in(folder, module):
                _beside[name] = module
        sys.modules.update(hidden)


def _names_in(folder: Path) -> set[str]:
    """What an import may mean by a file or a folder in the folder; names of Python's own library stay its own."""
    found = {each.stem for each in folder.glob("*.py")} | {each.parent.name for each in folder.glob("*/__init__.py")}
    return found - sys.stdlib_module_names


def _lies_in(folder: Path, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and folder in Path(file).resolve().parents

"""The layers of the architecture point down only."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import ftllm_nb

PACKAGE = Path(ftllm_nb.__file__).parent
# A layer may import the layers after it. Those in one row know nothing of each other.
LAYERS = (
    ("__main__", "chat", "server", "webui"),
    ("cli",),
    ("scaffold",),
    ("benchmark", "outline", "quantization", "serving", "verification"),
    ("llm", "extend"),
    ("answers",),
    ("loading",),
    ("engine_options",),
    ("engine",),
    ("models",),
    ("blocks",),
    ("graph",),
    ("ops",),
    ("quant",),
    ("kernels",),
    ("stores",),
    ("checkpoint", "hub", "tokenizer"),
    ("host_cores", "host_memory", "memory", "terminal_text", "user_folders"),
    ("byte_sizes", "control_groups", "hadamard", "quantized_type"),
    ("errors",),
    ("__init__",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# The vocabulary that operators declare themselves in: it imports nothing.
SHARED = {"ftllm_nb.graph.types"}

BEFORE_NUMBA = ("cli", "outline", "scaffold", "llm", "extend", "loading", "engine_options", "models", "blocks", "graph",
                "ops")  # fmt: skip
"""Layers that describe and check models, which must not wait for Numba: only their functions import kernels, or what
packs and multiplies weights. The other half of quant/ and the executors are imported where one is compiled."""
WITH_NUMBA = {"graph/lower.py"}
"""What executors alone import."""
OF_NUMBA = ("ftllm_nb.kernels", "ftllm_nb.quant.", "ftllm_nb.engine.")
WITHOUT_NUMBA = {"ftllm_nb.quant.activations", "ftllm_nb.quant.base", "ftllm_nb.engine.sampling_settings"}


@functools.cache
def files_of_layers() -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        files.setdefault(file.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(file)
    return files


@functools.cache
def imported_modules(file: Path) -> tuple[tuple[int, str], ...]:
    """(line, module) of every import of this package in a file; imports of types alone do not count."""
    return tuple(_imports(ast.parse(file.read_text(encoding="utf-8"))))


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the layer"
            modules = [node.module or ""]
            if modules == ["ftllm_nb"]:
                modules = [f"ftllm_nb.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, module) for module in modules if module.split(".")[0] == "ftllm_nb")


def test_every_module_has_its_layer() -> None:
    assert set(files_of_layers()) == set(RANK)


@pytest.mark.parametrize("own", RANK)
def test_imports_point_down(own: str) -> None:
    wrong = []
    for file in files_of_layers()[own]:
        for line, module in imported_modules(file):
            if module in SHARED or module == "ftllm_nb.__version__":
                continue
            target = module.split(".")[1] if "." in module else "__init__"
            if target != own and RANK[target] <= RANK[own]:
                wrong.append(f"{file}:{line}: {own} imports {module}")
    assert wrong == []


@pytest.mark.parametrize("own", BEFORE_NUMBA)
def test_what_describes_models_imports_kernels_in_functions_alone(own: str) -> None:
    wrong = []
    for file in files_of_layers()[own]:
        if file.relative_to(PACKAGE).as_posix() in WITH_NUMBA:
            continue
        imports = [(line, module) for line, module in imported_modules(file) if module.startswith(OF_NUMBA)]
        if not imports:
            continue
        in_functions = {
            line
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef) and not (own == "ops" and node.name in ("infer", "state", "reference"))
            for line in range(node.lineno, (node.end_lineno or 0) + 1)
        }
        wrong += [
            f"{file}:{line}: import {module} in the function that lowers, so that a graph is checked without Numba"
            for line, module in imports
            if module not in WITHOUT_NUMBA and line not in in_functions
        ]
    assert wrong == []

"""An environment a client, below .venv-clients/, in which its newest versions are installed when it is first tried.

A client is a file of programs/, whose head names what it needs: a Python program as inline script metadata
(`# dependencies = ["openai"]`), a JavaScript program as `// dependencies: openai zod`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
ENVIRONMENTS = Path(__file__).parents[2] / ".venv-clients"
SECONDS_TO_INSTALL = 1800


@dataclass(frozen=True)
class Client:
    """A program, the command that runs it, and the versions of what it names: "openai 2.1.0"."""

    program: Path
    command: list[str]
    versions: list[str]


def programs() -> list[str]:
    """The file names of all clients."""
    return sorted(file.name for file in PROGRAMS.iterdir() if re.fullmatch(r"[a-z]\w*\.(py|mjs)", file.name))


def dependencies(program: Path) -> list[str]:
    """What a program's head names."""
    head = program.read_text(encoding="utf-8")
    if program.suffix == ".py":
        return list(json.loads(re.search(r"^# dependencies = (\[.*\])$", head, re.MULTILINE)[1]))  # type: ignore[index]
    return re.search(r"^// dependencies: (.+)$", head, re.MULTILINE)[1].split()  # type: ignore[index]


def installed(name: str) -> Client:
    """A client that is ready to run. Raises `AssertionError` with what the installer says where it fails."""
    program = PROGRAMS / name
    folder = ENVIRONMENTS / program.stem
    needed = dependencies(program)
    stamp = folder / "installed.json"
    if not stamp.is_file() or json.loads(stamp.read_text()) != needed:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (install_python if program.suffix == ".py" else install_node)(folder, needed)
        stamp.write_text(json.dumps(needed))
    names = [re.split(r"[\[=<>~!]", each)[0] for each in needed]
    if program.suffix == ".py":
        python = str(folder / "bin" / "python")
        return Client(program, [python, str(program)], python_versions(python, names))
    # Node looks for packages beside the program.
    for file in (program, PROGRAMS / "_steps.mjs"):
        shutil.copy(file, folder)
    versions = [f"{each} {node_version(folder, each)}" for each in needed]
    return Client(program, [found("node"), str(folder / name)], versions)


def install_python(folder: Path, needed: list[str]) -> None:
    """Make a virtual environment. uv fills it, as pip would, in a small part of the time."""
    uv = ENVIRONMENTS / "uv"
    if not (uv / "bin" / "uv").is_file():
        shutil.rmtree(uv, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(uv)])
        run([str(uv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    run([str(uv / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *needed])


def install_node(folder: Path, needed: list[str]) -> None:
    """Install packages below the folder."""
    (folder / "package.json").write_text("{}")
    run([found("npm"), "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(folder), *needed])


def python_versions(python: str, names: list[str]) -> list[str]:
    """Each with its version."""
    script = "import sys; from importlib.metadata import version; [print(each, version(each)) for each in sys.argv[1:]]"
    return run([python, "-c", script, *names]).splitlines()


def node_version(folder: Path, name: str) -> str:
    """Of a package below the folder."""
    return str(json.loads((folder / "node_modules" / name / "package.json").read_text())["version"])


def found(program: str) -> str:
    """Its path."""
    path = shutil.which(program)
    assert path is not None, f"{program} is not installed: the JavaScript clients need Node.js with npm"
    return path


def run(command: list[str]) -> str:
    """Its output; `AssertionError` where it fails."""
    # What pip is told of places and certificates holds for uv.
    told = {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", ""), "UV_INDEX_URL": os.environ.get("PIP_INDEX_URL", "")}
    environment = {**{name: value for name, value in told.items() if value}, "UV_NATIVE_TLS": "true", **os.environ}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_TO_INSTALL
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout

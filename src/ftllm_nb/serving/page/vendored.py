"""Fetches what the chat page takes from others, by npm; `python -m ftllm_nb.serving.page.vendored --check` compares.

`web/package.json` names the versions, `package-lock.json` beside it their digests, which npm holds downloads to.
Nothing is built: files are copied as they were published.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

WEB = Path(__file__).parent / "web"
LISTS = ("package.json", "package-lock.json")
COPIED = {
    "@highlightjs/cdn-assets": {"es/highlight.min.js": "highlight.min.js"},
    "dompurify": {"dist/purify.min.js": "purify.min.js"},
    "htm": {"dist/htm.module.js": "htm.module.js", "preact/index.module.js": "htm-preact.module.js"},
    "katex": {
        "dist/katex.min.js": "katex.min.js",
        "dist/katex.min.css": "katex.min.css",
        "dist/fonts/*.woff2": "fonts",
    },
    "marked": {"lib/marked.esm.js": "marked.esm.js"},
    "preact": {"dist/preact.module.js": "preact.module.js", "hooks/dist/hooks.module.js": "hooks.module.js"},
}
"""Of each package, its files and what they are called here. Each brings its licence, too."""


def fetched(folder: Path, command: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file that belongs into WEB, as npm gives them. `folder` is an empty one.

    `command` of npm: `ci` holds to the lock, `install` writes a new one where package.json was changed.
    """
    for name in LISTS:
        if (WEB / name).exists():
            shutil.copy(WEB / name, folder)
    subprocess.run(["npm", command, "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True)
    for package, files in COPIED.items():
        source = folder / "node_modules" / package
        yield f"vendor/licenses/{package.strip('@').partition('/')[0]}.txt", (source / "LICENSE").read_bytes()
        for pattern, target in files.items():
            for file in sorted(source.glob(pattern)):
                name = f"{target}/{file.name}" if "*" in pattern else target
                yield f"vendor/{name}", file.read_bytes()
    yield "package-lock.json", without_hosts((folder / "package-lock.json").read_text(encoding="utf-8")).encode()


def without_hosts(lock: str) -> str:
    """The lock without the addresses from which a registry sent the packages: their digests say what they are."""
    found = json.loads(lock)
    for package in found["packages"].values():
        package.pop("resolved", None)
    return json.dumps(found, indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with --check only compare; the exit status, 1 where one differs."""
    if shutil.which("npm") is None:
        print("npm is not there: install Node.js, which brings it.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        wanted = dict(fetched(Path(folder), "ci" if arguments == ["--check"] else "install"))
    present = {str(file.relative_to(WEB)) for file in (WEB / "vendor").rglob("*") if file.is_file()} | {LISTS[1]}
    if arguments == ["--check"]:
        differing = [name for name in wanted if name in present and (WEB / name).read_bytes() != wanted[name]]
        for name in sorted({*differing, *(present ^ wanted.keys())}):
            print(f"{WEB / name} is not what npm gives: run `make vendor`.", file=sys.stderr)
        return 1 if differing or present != wanted.keys() else 0
    for name in present - wanted.keys():
        (WEB / name).unlink()
    for name, content in wanted.items():
        (WEB / name).parent.mkdir(parents=True, exist_ok=True)
        (WEB / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

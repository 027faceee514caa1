"""The page's files in memory, and the headers under which a browser runs them."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""Of what is sent; other files, such as licences, only lie beside it."""
POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
"""What a browser may do, whatever an answer holds: run these files, and ask this server.

Text becomes elements through DOMPurify alone. No style and no script is written into the page itself, but for the map
of module names, which is allowed by its digest.
"""
HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
REVALIDATED = "no-cache"
FOREVER = "public, max-age=31536000, immutable"
"""Of files whose address holds the digest of all of them: a new version has other addresses."""
_INLINE_SCRIPT = re.compile(rb"<script\b(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class WebFile:
    """What is sent for one address."""

    body: bytes
    headers: dict[str, str]


class Site:
    """The page with its title: `index` is what stands at /, `files` the rest by their paths below /page/DIGEST/."""

    def __init__(self, title: str) -> None:
        bodies = dict(_read(files(__package__).joinpath("web"), PurePosixPath()))
        digest = hashlib.sha256()
        for name in sorted(bodies):
            digest.update(b"%s\0%d\0" % (name.encode(), len(bodies[name])) + bodies[name])
        self.digest = digest.hexdigest()[:16]
        template = Template(bodies.pop("index.html").decode("utf-8"))
        index = template.substitute(title=html.escape(title), base=f"page/{self.digest}").encode("utf-8")
        policy = _policy(index)
        self.index = WebFile(index, _headers(".html", REVALIDATED, policy))
        self.files = {
            name: WebFile(body, _headers(PurePosixPath(name).suffix, FOREVER, policy)) for name, body in bodies.items()
        }


def _read(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, path / entry.name)
        elif PurePosixPath(entry.name).suffix in MEDIA_TYPES:
            yield str(path / entry.name), entry.read_bytes()


def _headers(suffix: str, caching: str, policy: str) -> dict[str, str]:
    return {
        **HEADERS,
        "cache-control": caching,
        "content-security-policy": policy,
        "content-type": MEDIA_TYPES[suffix],
    }


def _policy(index: bytes) -> str:
    """The policy that allows exactly those scripts which are written into the page."""
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(index))
    return POLICY.format(scripts=" ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests))

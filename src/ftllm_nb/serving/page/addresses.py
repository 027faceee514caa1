"""Which addresses of the server are the page's."""

from __future__ import annotations

ABOUT = "/page/about"
"""What the page says of the model, as JSON: the one address of its own that a key guards."""


def is_page_file(method: str, path: str) -> bool:
    """Whether a request only reads a file that the page is made of, which are the same for everybody."""
    return method in ("GET", "HEAD") and (path == "/" or (path.startswith("/page/") and path != ABOUT))


def is_of_page(path: str) -> bool:
    """Whether a path belongs to the page's own doings, of which a log would be full."""
    return path.startswith("/page/")

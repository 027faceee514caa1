"""What is special about browsers: requests that another site's page makes in a user's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit


def is_of_another_site(method: str, headers: Mapping[bytes, bytes], allowed_origins: Sequence[str]) -> bool:
    """Whether a page from elsewhere asks for work, in the browser of somebody who may.

    Browsers say where a request comes from: Sec-Fetch-Site on this machine and over TLS, Origin anywhere.
    """
    origin = headers.get(b"origin", b"").decode("latin-1")
    if method in ("GET", "HEAD", "OPTIONS") or origin in allowed_origins or "*" in allowed_origins:
        return False
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    if not origin:
        return False
    try:
        return urlsplit(origin).netloc != headers.get(b"host", b"").decode("latin-1")
    except ValueError:
        return True

"""Names by which this machine is reached: a page of another site cannot have them.

A page may ask a server of this machine under a name of its own site that it lets point here (DNS rebinding); then the
browser takes the answers for the site's. The Host header tells: it has that name.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

CONTAINER_NAMES = (
    "host.docker.internal", "gateway.docker.internal", "kubernetes.docker.internal", "host.containers.internal",
    "host.lima.internal", "host.minikube.internal",
)  # fmt: skip
"""What containers call the machine that they run on; nobody can register a name below `internal`."""


def is_known_host(header: str, allowed: Sequence[str]) -> bool:
    """Whether a Host header is empty, an address, or names this machine; `allowed` are further names, * for all."""
    name = header.rsplit(":", 1)[0] if not header.endswith("]") else header
    name = name.lower().rstrip(".")
    if not header or "*" in allowed or name in (each.lower() for each in allowed):
        return True
    own = socket.gethostname().lower()
    if name in ("localhost", own, f"{own}.local", *CONTAINER_NAMES) or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True

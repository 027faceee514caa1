"""A small Hugging Face hub on this machine: what huggingface_hub asks for, and breaks on request."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class LocalHub:
    """Repositories by name: each maps file names to contents. `requests` are those that came."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    breaks: int = 0
    """So many downloads of large files end in the middle."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and the Range header."""
    endpoint: str = ""

    def add_folder(self, name: str, folder: Path) -> None:
        """Offer a model's folder under a name."""
        self.repositories[name] = {
            str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()
        }


@contextmanager
def running_hub() -> Iterator[LocalHub]:
    """A hub that answers until the end."""
    hub = LocalHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.serve(with_body=False)

        def do_GET(self) -> None:
            self.serve(with_body=True)

        def reply(self, status: int, headers: dict[str, str], body: bytes, with_body: bool) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def refuse(self, status: int, code: str, with_body: bool) -> None:
            self.reply(status, {"X-Error-Code": code, "X-Error-Message": code}, b"{}", with_body)

        def serve(self, with_body: bool) -> None:
            hub.requests.append((self.command, self.path, self.headers.get("Range", "")))
            parts = self.path.split("?")[0].strip("/").split("/")
            is_api = parts[:2] == ["api", "models"]
            owner, name, *rest = parts[2:] if is_api else parts
            files = hub.repositories.get(f"{owner}/{name}")
            revision = rest[1] if len(rest) > 1 else "main"
            if files is None:
                return self.refuse(401, "RepoNotFound", with_body)
            if revision not in ("main", "v1", COMMIT):
                return self.refuse(404, "RevisionNotFound", with_body)
            if is_api:
                siblings = [{"rfilename": file} for file in files]
                body = json.dumps({"id": f"{owner}/{name}", "sha": COMMIT, "siblings": siblings}).encode()
                return self.reply(200, {"Content-Type": "application/json"}, body, with_body)
            if f"{owner}/{name}" in hub.gated:
                return self.refuse(403, "GatedRepo", with_body)
            content = files.get("/".join(rest[2:]))
            if content is None:
                return self.refuse(404, "EntryNotFound", with_body)
            return self.serve_file(content, with_body)

        def serve_file(self, content: bytes, with_body: bool) -> None:
            begin = 0
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
            if with_body and (wanted := self.headers.get("Range")):
                begin = int(wanted.removeprefix("bytes=").split("-")[0])
                headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            body = content[begin:]
            if with_body and hub.breaks and len(content) > 1_000_000:
                hub.breaks -= 1
                self.send_response(206 if begin else 200)
                for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.reply(206 if begin else 200, headers, body, with_body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()

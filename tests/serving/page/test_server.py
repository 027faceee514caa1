"""The page's addresses without a browser: what is sent, under which headers, and who may ask."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys

import pytest

from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.page.addresses import is_of_page, is_page_file
from ftllm_nb.serving.page.site import Site
from tests.serving.test_browser_requests import CHAT, FOREIGN, OWN, request

PAGE = ServerOptions(title="Ask")
KEYED = ServerOptions(title="Ask", api_keys=("first", "sésame"))
SITE = Site("Ask")


def address(name: str) -> str:
    return f"/page/{SITE.digest}/{name}"


def test_the_page_and_each_of_its_files_are_sent() -> None:
    index = request(PAGE, "GET", "/")
    assert index.status_code == 200 and index.headers["content-type"] == "text/html; charset=utf-8"
    assert index.headers["cache-control"] == "no-cache"
    named = re.findall(r'"(?:\./)?(page/[^"]+)"', index.text)
    assert len(named) > 10 and {f"/{name}" for name in named} <= {address(name) for name in SITE.files}
    types = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml",
             "woff2": "font/woff2"}  # fmt: skip
    for name, file in SITE.files.items():
        found = request(PAGE, "GET", address(name))
        assert found.content == file.body
        assert found.headers["content-type"] == types[name.rpartition(".")[2]]
        assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert found.headers["x-content-type-options"] == "nosniff"
    assert request(PAGE, "HEAD", "/").content == b""


def test_modules_import_what_is_there() -> None:
    for name, file in SITE.files.items():
        if name.endswith(".js") and not name.startswith("vendor/"):
            for target in re.findall(r'(?:from|import\(?) ?"(\.[^"]+)"', file.body.decode()):
                path = f"{name.rpartition('/')[0]}/{target}"
                while (shorter := re.sub(r"(^|/)(?:\.|(?!\.\.)[^/]+/\.\.)/", r"\1", path)) != path:
                    path = shorter
                assert path.strip("/") in SITE.files, f"{name} imports {target}"


def test_the_policy_allows_what_the_page_came_with_alone() -> None:
    index = request(PAGE, "GET", "/")
    policy = dict(part.strip().split(" ", 1) for part in index.headers["content-security-policy"].split(";"))
    (script,) = re.findall(r"<script type=\"importmap\">(.*?)</script>", index.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{digest}'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["style-src"] == policy["connect-src"] == policy["font-src"] == "'self'"
    assert policy["img-src"] == "'self' data:"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in str(policy) and "http" not in str(policy)
    for name in ("app.js", "vendor/katex.min.css"):
        sent = request(PAGE, "GET", address(name)).headers["content-security-policy"]
        assert sent == index.headers["content-security-policy"]


def test_an_address_changes_with_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(folder: object, path: object) -> list[tuple[str, bytes]]:
        return [("index.html", b"$title"), ("app.js", b"other")]

    monkeypatch.setattr("ftllm_nb.serving.page.site._read", other)
    assert Site("Ask").digest != SITE.digest
    assert request(PAGE, "GET", f"/page/{'0' * 16}/app.js").status_code == 404


@pytest.mark.parametrize("path", ["/page/about/x", "/page/", "/page/x", "/config", "/index.html",
                                  address("../site.py"), address("%2e%2e/site.py"), address("package.json"),
                                  address("vendor"), address("vendor/licenses/katex.txt")])  # fmt: skip
def test_what_is_not_there_is_an_error_of_the_api(path: str) -> None:
    found = request(PAGE, "GET", path)
    assert found.status_code == 404 and "this server has POST /v1/chat/completions" in found.json()["error"]["message"]


def test_the_page_needs_no_key_and_what_it_asks_for_does() -> None:
    assert request(KEYED, "GET", "/").status_code == 200
    assert request(KEYED, "GET", address("app.js")).status_code == 200
    given = "Authorization", "Basic Zmlyc3Q6Zmlyc3Q="
    for path in ("/page/about", "/v1/models", "/metrics", "/tokenize", "/", address("app.js")):
        method = "GET" if path in ("/page/about", "/v1/models", "/metrics") else "POST"
        for headers in ({}, {"authorization": "Bearer no"}, {"authorization": "Bearer "}, dict([given])):
            refused = request(KEYED, method, path, headers)
            assert refused.status_code == 401 and refused.json()["error"]["code"] == "invalid_api_key"
            assert refused.headers["www-authenticate"] == "Bearer", "browsers ask for no password"
    assert request(KEYED, "GET", "/page/about", {"authorization": "Bearer first"}).status_code == 200
    without_page = ServerOptions(api_keys=("first",))
    assert request(without_page, "GET", "/").status_code == 401


def test_pages_of_other_sites_get_no_work_done() -> None:
    for headers in FOREIGN:
        assert request(PAGE, "POST", CHAT, headers).status_code == 403
        assert request(PAGE, "POST", "/tokenize", headers).status_code == 403
        assert request(KEYED, "POST", CHAT, headers).status_code == 401, "there is nothing a browser shows by itself"
        found = request(PAGE, "GET", "/", headers)
        assert found.status_code == 200, "a link to the page"
        assert not [name for name in found.headers if name.startswith("access-control")]
    for headers in OWN:
        assert request(PAGE, "POST", CHAT, headers).status_code == 503
    for path in ("/", address("app.js"), "/page/about"):
        rebound = request(PAGE, "GET", path, {"host": "evil.example"})
        assert rebound.status_code == 400 and rebound.json()["error"]["code"] == "wrong_host"


def test_the_page_is_there_while_the_model_loads() -> None:
    options = ServerOptions(title="</title><script>alert(1)</script>", model_name="tiny")
    assert "<script>alert(1)" not in request(options, "GET", "/").text
    assert request(options, "GET", "/page/about").json() == {"model": "tiny", "ready": False}


def test_which_addresses_are_the_pages() -> None:
    assert all(map(is_of_page, ("/page/about", "/page/x/app.js")))
    assert not any(map(is_of_page, ("/", "/v1/models", "/pages")))
    assert is_page_file("GET", "/") and is_page_file("HEAD", "/page/x/app.js")
    assert not is_page_file("POST", "/") and not is_page_file("GET", "/page/about")
    assert not is_page_file("GET", "/v1/models")


@pytest.mark.parametrize("command", ["webui", "server"])
def test_a_missing_package_is_named_with_its_extra(command: str) -> None:
    program = "import sys; sys.modules['uvicorn'] = None; from ftllm_nb.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program, command, "demo"], capture_output=True, text=True)
    assert done.returncode == 2
    wanted = f"error: the {command} needs the package uvicorn: install it with pip install 'ftllm-nb[{command}]'.\n"
    assert done.stderr.endswith(wanted)


@pytest.mark.parametrize("arguments", [["webui", "--help"], ["server", "--help"], ["--help"]], ids=" ".join)
def test_help_needs_no_server(arguments: list[str]) -> None:
    program = (
        "import sys; from ftllm_nb.cli import main\ntry: main(sys.argv[1:])\n"
        "except SystemExit: pass\nsys.exit('fastapi' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True).returncode == 0

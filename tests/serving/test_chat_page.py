"""The chat page without a browser: its routes, what guards them, and what its files hold."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import subprocess
import sys
from importlib.resources import files
from itertools import product

import httpx
import pytest

from ftllm_nb import serving
from ftllm_nb.serving.application import create_application
from ftllm_nb.serving.browser_requests import password_of
from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.service import Service
from tests.serving.server_process import ServerProcess

PAGE = files(serving).joinpath("page")
NAMES = sorted(entry.name for entry in PAGE.iterdir())
PATHS = ["/", "/page/about", *(f"/page/{name}" for name in NAMES if not name.endswith(".html"))]
CHAT = "/v1/chat/completions"
KEYED = ServerOptions(title="Ask", api_keys=("first", "sésame"))


def request(options: ServerOptions, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """The answer of a server whose model is still loading."""

    service = Service(options)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_application(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1616") as client:
            body = {"messages": [{"role": "user", "content": "x"}]} if method == "POST" else None
            return await client.request(method, path, headers=headers, json=body)

    try:
        return asyncio.run(ask())
    finally:
        service.close()


def basic(password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()}


def test_the_page_is_there_while_the_model_loads() -> None:
    for path in PATHS:
        response = request(ServerOptions(title="Ask"), "GET", path)
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
    assert request(ServerOptions(title="Ask"), "GET", "/page/about").json()["ready"] is False
    assert request(ServerOptions(title="Ask"), "GET", "/page/../chat_page.py").status_code == 404


def test_a_server_without_a_page_has_no_route_of_it() -> None:
    for path in PATHS:
        assert request(ServerOptions(), "GET", path).status_code == 404


def test_the_title_is_text() -> None:
    text = request(ServerOptions(title="<script>alert(1)</script> & co"), "GET", "/").text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; co") == 2
    assert "<script>" not in text


def test_everything_comes_from_this_server() -> None:
    """Each file that another one names is served, and no address leads elsewhere."""
    named = set()
    for name in NAMES:
        text = PAGE.joinpath(name).read_text(encoding="utf-8")
        named |= set(re.findall(r'(?:src|href)="page/([^"]+)"', text))
        named |= set(re.findall(r'from "\./([^"]+)"', text))
        addresses = re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", text)
        assert [address for address in addresses if address != "http://www.w3.org"] == [], name
        assert not re.search(r"@import|url\(|(?:inner|outer|Adjacent)HTML|document\.write|\beval\(", text), name
        assert not re.search(r'<[^>]+\s(?:on\w+|style)="', text), f"{name}: the policy refuses this"
    assert named == {name for name in NAMES if not name.endswith(".html")}


@pytest.mark.parametrize("path", [*PATHS, "/v1/models"])
def test_a_key_opens_every_route(path: str) -> None:
    for headers in ({}, basic("wrong"), basic(""), {"authorization": "Basic ?"}, {"authorization": "Bearer Zmlyc3Q="}):
        refused = request(KEYED, "GET", path, headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic realm=")
        assert refused.json()["error"]["code"] == "invalid_api_key"
    for headers in (basic("first"), basic("sésame"), {"authorization": "Bearer first"}):
        assert request(KEYED, "GET", path, headers).status_code == 200


def test_a_server_without_a_page_takes_no_passwords() -> None:
    refused = request(ServerOptions(api_keys=("first",)), "GET", "/v1/models", basic("first"))
    assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"


def test_passwords() -> None:
    assert password_of(base64.b64encode(b"user:pass:word")) == b"pass:word"
    assert password_of(base64.b64encode(b"no colon")) == b""
    assert password_of(b"\xff\xfe") == b""


HERE, ELSEWHERE = "http://127.0.0.1:1616", "http://evil.example"
FOREIGN = [{"origin": ELSEWHERE}, {"origin": "null"}, {"origin": "http://["}, {"sec-fetch-site": "cross-site"},
           {"sec-fetch-site": "same-site"}, {"origin": HERE, "sec-fetch-site": "cross-site"}]  # fmt: skip
OWN: list[dict[str, str]] = [{}, {"origin": HERE}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}]


def test_pages_of_other_sites_get_no_work_done() -> None:
    """503 is what a chat gets while the model loads: it was let through."""
    for options, headers in product((ServerOptions(title="Ask"), ServerOptions()), FOREIGN):
        refused = request(options, "POST", CHAT, headers)
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "wrong_origin"
    for headers in OWN:
        assert request(ServerOptions(title="Ask"), "POST", CHAT, headers).status_code == 503
        assert request(KEYED, "POST", CHAT, {**headers, **basic("first")}).status_code == 503
    for headers in FOREIGN:
        assert request(KEYED, "POST", CHAT, {**headers, **basic("first")}).status_code == 403
        assert request(KEYED, "POST", CHAT, {**headers, "authorization": "Bearer first"}).status_code == 503
        assert request(ServerOptions(title="Ask"), "GET", "/", headers).status_code == 200, "a link to the page"
    for origins in (("*",), (ELSEWHERE,)):
        allowed = ServerOptions(cors_origins=origins)
        assert request(allowed, "POST", CHAT, {"origin": ELSEWHERE, "sec-fetch-site": "cross-site"}).status_code == 503


def test_text_can_be_read_in_light_and_in_dark() -> None:
    """Contrasts are at least the 4.5 of WCAG's level AA."""
    style = PAGE.joinpath("style.css").read_text(encoding="utf-8")
    colours = re.findall(r"--([\w-]+): light-dark\((#[\da-f]{6}), (#[\da-f]{6})\);", style)
    themes = [{name: shades[scheme] for name, *shades in colours} for scheme in (0, 1)]

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    pairs = [("ink", "mine"), ("error", "error-paper"), ("on-accent", "accent")]
    pairs += [*product(("ink", "soft", "accent"), ("paper", "raised", "sunken"))]
    pairs += [*product(("keyword", "string", "number", "comment"), ("sunken",))]
    for theme, (text, paper) in product(themes, pairs):
        dark, light = sorted((luminance(theme[text]), luminance(theme[paper])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{text} {theme[text]} on {paper} {theme[paper]}"


@pytest.mark.parametrize("command", ["webui", "server"])
def test_a_missing_package_is_named_with_its_extra(command: str) -> None:
    program = "import sys; sys.modules['uvicorn'] = None; from ftllm_nb.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", program, command, "demo"], capture_output=True, text=True)
    assert done.returncode == 2
    wanted = f"error: the {command} needs the package uvicorn: install it with pip install 'ftllm-nb[{command}]'.\n"
    assert done.stderr.endswith(wanted)


def test_the_command_serves_page_and_api_until_it_is_told_to_end() -> None:
    with ServerProcess("demo", "--title", "Ask", "--host", "0.0.0.0", command="webui") as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        about = httpx.get(f"{url}/page/about").json()
        assert about["ready"] and about["name"] == "demo" and about["weights"] == "bfloat16"
        assert about["defaults"]["temperature"] == 0, "the demo model's answers are greedy"
        assert "<title>Ask</title>" in httpx.get(url).text
        question = {"messages": [{"role": "user", "content": "What is 17 + 25?"}]}
        answer = httpx.post(f"{url}{CHAT}", json=question).json()
        assert answer["choices"][0]["message"]["content"] == "42"
        assert any("give it an --api_key" in line for line in server.lines), "public, and no key: a warning"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert {line["path"] for line in server.log} == {"/", "/page/about", CHAT}

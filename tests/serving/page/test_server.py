"""The page's server without a browser: what guards it, what it says, and what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ftllm_nb.serving.options import ServerOptions
from tests.serving.test_browser_requests import CHAT, FOREIGN, OWN, basic, request

KEYED = ServerOptions(title="Ask", api_keys=("first", "sésame"))
PATHS = ("/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/heartbeat/x", "/assets/x.js", "/v1/models")


@pytest.fixture
def gradio() -> None:
    pytest.importorskip("gradio")


@pytest.mark.browser
@pytest.mark.usefixtures("gradio")
def test_a_key_opens_every_route() -> None:
    for path in PATHS:
        for headers in ({}, basic("wrong"), basic(""), {"authorization": "Basic ?"}, {"authorization": "Bearer no"}):
            refused = request(KEYED, "GET", path, headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic realm=")
            assert refused.json()["error"]["code"] == "invalid_api_key"
    for headers in (basic("first"), basic("sésame"), {"authorization": "Bearer first"}):
        assert request(KEYED, "GET", "/", headers).status_code == 200


@pytest.mark.browser
@pytest.mark.usefixtures("gradio")
def test_pages_of_other_sites_get_no_work_done() -> None:
    page = ServerOptions(title="Ask")
    for path in (CHAT, "/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/cancel"):
        for headers in FOREIGN:
            assert request(page, "POST", path, headers).status_code == 403
            assert request(KEYED, "POST", path, {**headers, **basic("first")}).status_code == 403
    for headers in OWN:
        assert request(KEYED, "POST", CHAT, {**headers, **basic("first")}).status_code == 503
    for headers in FOREIGN:
        found = request(page, "GET", "/", headers)
        assert found.status_code == 200, "a link to the page"
        assert not [name for name in found.headers if name.startswith("access-control")]


@pytest.mark.browser
@pytest.mark.usefixtures("gradio")
def test_the_page_is_there_while_the_model_loads() -> None:
    found = request(ServerOptions(title="</script><script>alert(1)</script>", model_name="tiny"), "GET", "/")
    assert found.status_code == 200 and "tiny · loading" in found.text.replace("\\\\u00b7", "·").replace("\\u00b7", "·")
    assert "<script>alert(1)" not in found.text
    for address in ("fonts.googleapis", "cdnjs", "raw.githubusercontent", "og:title"):
        assert address not in found.text


@pytest.mark.browser
@pytest.mark.usefixtures("gradio")
def test_nothing_is_asked_for_while_the_page_is_made() -> None:
    program = """
import sys
def hear(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        print(event, arguments, flush=True)
sys.addaudithook(hear)
from ftllm_nb.serving.application import create_application
from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.service import Service
create_application(Service(ServerOptions(title="Ask")))
import gradio, time
time.sleep(0.5)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.browser
@pytest.mark.usefixtures("gradio")
def test_what_is_not_there_is_an_error_of_the_api() -> None:
    for path in ("/v1/nothing", "/gradio_api/upload", "/gradio_api/file=x"):
        found = request(ServerOptions(title="Ask"), "GET", path)
        assert found.status_code == 404 and found.json()["error"]["message"] == "Not Found."


@pytest.mark.parametrize(
    ("command", "package"), [("webui", "uvicorn"), ("server", "uvicorn"), ("webui", "gradio")], ids=str
)
def test_a_missing_package_is_named_with_its_extra(command: str, package: str) -> None:
    program = "import sys; sys.modules[sys.argv.pop()] = None; from ftllm_nb.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program, command, "demo", package], capture_output=True, text=True)
    assert done.returncode == 2
    wanted = f"error: the {command} needs the package {package}: install it with pip install 'ftllm-nb[{command}]'.\n"
    assert done.stderr.endswith(wanted)


@pytest.mark.parametrize("arguments", [["webui", "--help"], ["server", "--help"], ["--help"]], ids=" ".join)
def test_help_needs_no_gradio(arguments: list[str]) -> None:
    program = (
        "import sys; from ftllm_nb.cli import main\ntry: main(sys.argv[1:])\n"
        "except SystemExit: pass\nsys.exit('gradio' in sys.modules or 'fastapi' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True).returncode == 0

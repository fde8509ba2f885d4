"""`make viz` opens the browser at its own server, and at no other."""

import importlib.util
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.demo_project import PROJECT

SERVER = """
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
server.handle_request()
sys.exit(3)
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, whose browser keeps the addresses in `opened`."""
    spec = importlib.util.spec_from_file_location("open_when_ready", PROJECT / "scripts" / "open_when_ready.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.opened = []
    monkeypatch.setattr(module.webbrowser, "open", module.opened.append)
    return module


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as other:
        return int(other.getsockname()[1])


def test_the_browser_is_opened_when_the_server_answers_and_its_exit_code_is_returned(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which knows nothing of this machine
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    port = free_port()
    address = f"http://127.0.0.1:{port}/?pid=exp4"
    assert script.main(address, [sys.executable, "-c", SERVER, str(port)]) == 3
    assert script.opened == [address]


def test_nothing_is_opened_when_the_server_ends_before_it_answers(script: Any) -> None:
    assert script.main(f"http://127.0.0.1:{free_port()}/", ["false"]) == 1
    assert script.opened == []


def test_a_port_in_use_is_refused_before_anything_is_started(script: Any, taken: int) -> None:
    with pytest.raises(SystemExit, match=f"port {taken}: in use by another program.*make viz VIZ_PORT=4142"):
        script.main(f"http://127.0.0.1:{taken}/", ["/no/such/program"])
    assert script.opened == []


def test_what_answers_in_no_http_does_not_answer(script: Any) -> None:
    """As a server that is starting, or that closes the connection: an error of the socket, and one of the protocol."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(5)

        def close() -> None:
            other.accept()[0].close()

        closing = threading.Thread(target=close)
        closing.start()
        assert not script.answers(f"http://127.0.0.1:{other.getsockname()[1]}/")
        closing.join()
    assert not script.answers(f"http://127.0.0.1:{free_port()}/")

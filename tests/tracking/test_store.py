"""Which store is used, and flat names."""

import base64
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT

from trimood.config.parameters import ClipParams, flatten
from trimood.tracking.store import OutOfReach, check, impatient, require_store, tracking_uri, use_store


def test_a_relative_sqlite_file_is_taken_from_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri("sqlite:///mlflow.db", tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri("sqlite:////var/runs.db", tmp_path) == "sqlite:////var/runs.db"
    assert tracking_uri("http://localhost:5000", tmp_path) == "http://localhost:5000"


def test_threads_that_select_a_store_at_once_leave_the_environment_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    select, is_selecting = mlflow.set_tracking_uri, threading.Event()

    def slowly(uri: str) -> None:
        select(uri)
        is_selecting.set()
        time.sleep(0.1 if uri.endswith("first.db") else 0.3)

    monkeypatch.setattr(mlflow, "set_tracking_uri", slowly)
    with ThreadPoolExecutor(2) as threads:
        threads.submit(use_store, f"sqlite:///{tmp_path}/first.db")
        is_selecting.wait()
        threads.submit(use_store, f"sqlite:///{tmp_path}/second.db")
    left = os.environ.get("MLFLOW_TRACKING_URI")
    select(None)
    assert left is None


def test_nested_values_become_flat_names() -> None:
    nested = {"lora": {"targets": ["q", "v"], "r": 16}, "training": {"augmentation": {"flip": 0.5}}, "seed": None}
    flat = {"lora.targets": "q+v", "lora.r": 16, "training.augmentation.flip": 0.5, "seed": None}
    assert flatten(nested) == flat
    assert flatten({"a": 1}, "data") == {"data.a": 1}
    assert flatten({}) == {}
    where = {"executor": "serial", "workers": 0, "time_limit_seconds": 60}
    clips = ClipParams.model_validate({"on_bad_clip": {"silent": "drop"}, **where})
    assert flatten({"data": {"clips": clips}}) == {
        "data.clips.in_use": True,
        "data.clips.on_bad_clip.silent": "drop",
        "data.clips.reader": "pyav",
        "data.clips.stereo": "mean",
        "data.clips.hash_again": False,
        **{f"data.clips.{name}": value for name, value in where.items()},
    }


class Server(HTTPServer):
    """A server that answers everything with `status`, and remembers the last Authorization."""

    status = 200
    authorization: str | None = None


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.authorization = self.headers["Authorization"]
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    with Server(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [200, 401, 404, 429])
def test_any_answer_but_an_error_of_the_server_is_one(server: Server, status: int) -> None:
    server.status = status
    check(f"http://127.0.0.1:{server.server_port}/")


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_with_an_error_is_out_of_reach(server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(OutOfReach, match=f"HTTP {status} "):
        check(f"http://127.0.0.1:{server.server_port}")


def test_a_server_is_asked_with_the_password_or_token_of_the_user(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(f"http://me:secret@127.0.0.1:{server.server_port}")
    assert server.authorization == f"Basic {base64.b64encode(b'me:secret').decode()}"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-token")
    check(f"http://127.0.0.1:{server.server_port}")
    assert server.authorization == "Bearer a-token"


@pytest.mark.parametrize("ask", [check, require_store])
def test_no_password_is_said(ask: Callable[[str], None]) -> None:
    with pytest.raises(OutOfReach, match="refused") as refused:
        ask("http://me:se@cret@127.0.0.1:9")
    assert "cret" not in str(refused.value)
    assert "me" not in str(refused.value).split()


def test_what_needs_the_store_says_what_to_do(server: Server) -> None:
    server.status = 500
    uri = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(OutOfReach, match=rf"MLflow at {uri} does not answer \(HTTP 500 .*\)\. Start its server"):
        require_store(uri)
    server.status = 200
    require_store(uri)


def test_mlflow_prints_no_url_at_the_end_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.name, raising=False)
    for is_upload in (False, True):
        with impatient(is_upload):
            assert MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get() is True
        assert MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get() is False

"""The page in a process of its own, as it is used: Gradio leaves its sockets and its warnings to the end of one."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

SOURCES = Path(__file__).parents[2] / "src"


@dataclass
class ServedPage:
    """A running page; `uploads` is where its temporary files lie, `log` what it has said before it was there."""

    url: str
    uploads: Path
    log: str
    process: subprocess.Popen[str]

    @property
    def config(self) -> dict[str, Any]:
        return httpx.get(f"{self.url}config").json()

    def part(self, elem_id: str) -> dict[str, Any]:
        (found,) = [c["props"] for c in self.config["components"] if c["props"].get("elem_id") == elem_id]
        return found


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def run_page(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> Iterator[ServedPage]:
    """Runs a command that serves a page until the block ends; a command that ends before raises with its words."""
    uploads = folder / "tmp"
    uploads.mkdir(parents=True)
    environment = {**(environment or os.environ), "TMPDIR": str(uploads), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    said = ""
    try:
        for line in process.stdout:
            said += line
            if found := re.search(r"The page is at (\S+/)", line):
                yield ServedPage(found[1], uploads, said, process)
                return
        raise AssertionError(f"{' '.join(command)} ended:\n{said}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)  # reads on, as a process that nobody listens to comes to a halt


@contextmanager
def serve_folder(models: Path, folder: Path, port: int | None = None) -> Iterator[ServedPage]:
    """The page of a folder of experiments; a corpus and MLflow's store may lie in `folder`."""
    command = [sys.executable, __file__, str(models), str(folder), str(port or free_port())]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"}
    with run_page(command, folder, environment) as page:
        yield page


if __name__ == "__main__":
    from trimood.app.server import serve

    logging.basicConfig(level=logging.INFO)
    models, folder, port = sys.argv[1:]
    serve(
        models=Path(models),
        scores=f"{folder}/{{experiment}}.json",
        corpus=Path(folder) / "corpus",
        checkpoints={},
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        port=int(port),
    )

"""A process that answers requests, one JSON object a line: both sides stay warm while they are timed in turn.

Only the standard library: it runs in both environments.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def serve(answers: Mapping[str, Callable[..., Any]]) -> None:
    """Answers each line of the standard input, {"do": name, …}, until it ends. Libraries may print: to the errors."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answers[request.pop("do")](**request)), file=replies, flush=True)


class Worker:
    """The other end: `ask` sends a request and waits for its answer. A context manager, which ends the process."""

    def __init__(self, python: str | Path, script: Path, log: Path) -> None:
        self._log = log
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [python, script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )

    def ask(self, do: str, **request: Any) -> Any:
        replies, requests = self._process.stdout, self._process.stdin
        if replies is None or requests is None:
            raise RuntimeError("the process was started without pipes")
        print(json.dumps({"do": do, **request}), file=requests, flush=True)
        if not (line := replies.readline()):
            self._process.wait()
            raise SystemExit(f"{do} {request} failed:\n{self._log.read_text()[-4000:]}")
        return json.loads(line)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

"""Real `kedro` commands without the seconds in which each imports the libraries.

Each command is a process of its own, forked by a server that has imported what commands use, this checkout's code
included. Where the imports themselves matter, a test starts `python -m kedro` instead.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from threading import Lock

SERVER = """
import atexit, gc, json, os, sys, threading, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # libraries write to stdout as they are imported
from importlib.metadata import entry_points
import kedro.framework.cli.cli, matplotlib.pyplot, mlflow.pyfunc, peft, pyarrow.parquet, sklearn.metrics, torch
import kedro_datasets.json, kedro_datasets.matplotlib, kedro_datasets.pandas, kedro_datasets.text
import trimood.learning.experiment, trimood.media.cache, trimood.pipeline_registry, trimood.serving.mlflow_model
import trimood.settings

torch.set_num_threads(1)
for group in ("kedro.hooks", "kedro.project_commands", "kedro.line_magic"):
    for entry in entry_points(group=group):
        if "kedro" in entry.value:
            entry.load()


def run_and_leave():
    code = 1
    try:
        kedro.framework.cli.cli.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # to take down all that was imported costs more than most commands


gc.collect()
gc.freeze()
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        for stream, name in enumerate([os.devnull, order["stdout"], order["stderr"]]):
            opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, stream)
            os.close(opened)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv[:] = ["kedro", *order["arguments"]]
        run_and_leave()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if order["wait"] else pid, file=answers, flush=True)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""


class CommandServer:
    """The server; it ends with this process."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = [sys.executable, "-c", SERVER]
        # Kedro takes its logging from the folder in which it is imported.
        where = {"cwd": Path(__file__).parents[2], "env": _environment()}
        self._process = subprocess.Popen(command, **pipes, **where, text=True)  # type: ignore[call-overload]
        self._lock = Lock()

    def run(self, folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Runs `kedro ARGUMENTS` in a folder to its end; `environment` adds to this process's."""
        with tempfile.TemporaryDirectory() as said:
            files = {name: Path(said, name) for name in ("stdout", "stderr")}
            code = self._order(folder, arguments, environment, wait=True, **files)
            words = {name: path.read_text() for name, path in files.items()}
        return subprocess.CompletedProcess(["kedro", *arguments], code, **words)

    def start(self, folder: Path, log: Path, *arguments: str) -> int:
        """Starts `kedro ARGUMENTS` in a folder, with all that it says in `log`; returns its process id."""
        return self._order(folder, arguments, {}, wait=False, stdout=log, stderr=log)

    def end(self) -> None:
        """Ends the server, and no command."""
        self._process.communicate()

    def _order(
        self,
        folder: Path,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        wait: bool,
        stdout: Path,
        stderr: Path,
    ) -> int:
        files = {"folder": str(folder), "stdout": str(stdout), "stderr": str(stderr)}
        order = {**files, "arguments": arguments, "environment": _environment() | environment, "wait": wait}
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


def _environment() -> dict[str, str]:
    """This process's, without what would lead a command to another store or another environment of configuration."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "KEDRO_ENV")}
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path)}


@cache
def command_server() -> CommandServer:
    """The server of this process, which is started when the first command is given."""
    server = CommandServer()
    atexit.register(server.end)
    return server

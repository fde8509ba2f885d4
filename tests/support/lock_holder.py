"""Another process, which holds a lock as a command does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CODE = """
import os, sys, time
from pathlib import Path
from trimood.disk import hold, note_holder
lock, forks = Path(sys.argv[1]), sys.argv[2] == "True"
sys.argv[:] = ["kedro", "run", "--pipelines=exp3"]
hold(lock, wait=False)
if forks and os.fork() == 0:  # as a worker that reads data
    time.sleep(60)
print("held", flush=True)
sys.stdin.readline()
note_holder(lock, trains=True)
print("trains", flush=True)
time.sleep(60)
"""


@dataclass(frozen=True)
class LockHolder:
    """The process; a worker that it has forked lives on when it is killed."""

    process: subprocess.Popen[str]

    def train(self) -> None:
        """Lets it note that it trains."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._hear("trains")

    def kill(self) -> None:
        """Ends it as the kernel does for want of memory."""
        self.process.kill()
        self.process.wait()

    def _hear(self, word: str) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == f"{word}\n"


@contextmanager
def lock_holder(lock: Path, forks: bool = False) -> Iterator[LockHolder]:
    """Starts a process that holds the lock, and ends it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CODE, str(lock), str(forks)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment, start_new_session=True) as process:  # type: ignore[call-overload]
        holder = LockHolder(process)
        try:
            holder._hear("held")
            yield holder
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)

"""Measures what requests cost that are small to send and costly to answer.

    python benchmarks/bad_requests.py [--only WORDS] [--port 5077]

Logs a tiny model, serves it with `mlflow models serve`, and sends each request of tests/support/bad_requests.py after a
good one. The table has the status, the seconds until the answer, the seconds until the
server's processes are idle again, and the peak of their memory above that before the request (proportional set size,
of all processes, sampled every 20 ms).
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.bad_requests import SIX, request  # noqa: E402 - found by the line above
from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, made_checkpoint  # noqa: E402
from support.trained_experiments import write_trained  # noqa: E402

IDLE_SECONDS = 1.0
LONGEST_SECONDS = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="words in the name of a request")
    parser.add_argument("--port", type=int, default=5077)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        model = logged_model(Path(name))
        print(f"{'request':34} {'status':>6} {'answer':>8} {'idle':>8} {'memory':>9}  message", flush=True)
        with served(model, Path(name), arguments.port) as (url, process):
            for title, make in SIX.items():
                if arguments.only in title:
                    print(f"{title:34} {measured(url, process, make())}", flush=True)


def logged_model(folder: Path) -> str:
    """Logs a tiny model of all three modalities; returns its URI."""
    import mlflow

    from trimood.serving.mlflow_model import log_model

    sources = {
        source: str(made_checkpoint(folder / source, config, seed=seed))
        for seed, (source, config) in enumerate({"video": TINY_VIDEO, "audio": TINY_AUDIO}.items())
    }
    trained = write_trained(folder / "exp6_head", sources, ("text", "video", "audio"))
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("serving", folder.as_uri()))
    with mlflow.start_run() as run:
        return log_model(trained / "best.safetensors", trained / "calibration.json", run.info.run_id)


@contextmanager
def served(model: str, folder: Path, port: int) -> Iterator[tuple[str, int]]:
    """The URL and the process of a server that has answered one request."""
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "PATH": f"{programs}:{os.environ['PATH']}",  # MLflow starts `uvicorn`
    }
    command = [programs / "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1000):
            if process.poll() is not None:
                raise RuntimeError((folder / "server.log").read_text())
            try:
                httpx.get(f"{url}/ping")
                break
            except httpx.TransportError:
                time.sleep(0.5)
        answer = post(url, request(text="Hi ."))
        answer.raise_for_status()
        yield url, process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def post(url: str, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return httpx.post(f"{url}/invocations", content=body, headers=headers, timeout=LONGEST_SECONDS)


def measured(url: str, process: int, body: bytes) -> str:
    before, peak, stopped = memory_mb(process), [0.0], threading.Event()

    def watch() -> None:
        while not stopped.wait(0.02):
            peak[0] = max(peak[0], memory_mb(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.monotonic()
    try:
        answer = post(url, body)
        status, message = str(answer.status_code), answer.text
    except httpx.TransportError as error:
        status, message = "none", repr(error)
    answered = time.monotonic() - start
    idle_since, used = time.monotonic(), cpu_seconds(process)
    while time.monotonic() - idle_since < IDLE_SECONDS and time.monotonic() - start < LONGEST_SECONDS:
        time.sleep(0.1)
        now = cpu_seconds(process)
        if now - used > 0.05:
            idle_since, used = time.monotonic(), now
    stopped.set()
    watcher.join()
    idle = idle_since - start
    words = message[-150:].replace("\n", " ")
    return f"{status:>6} {answered:6.1f} s {idle:6.1f} s {peak[0] - before:6.0f} MB  {words}"


def family(process: int) -> list[int]:
    """The process and all its descendants."""
    found = [process]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, tasks.read_text().split())
            except OSError:
                continue
    return found


def memory_mb(process: int) -> float:
    total = 0.0
    for one in family(process):
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1000
    return total


def cpu_seconds(process: int) -> float:
    total = 0
    for one in family(process):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

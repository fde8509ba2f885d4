"""What commands cost beside their work: until the first node, until the page answers, and after the last line.

Run `make demo` first; then: python benchmarks/start_up.py [RUNS]. Prints the least of several runs, in seconds, and
stores them in measured/start-up.json. CPU seconds are those of the command's own process, and depend less than wall
seconds on what else the machine does.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import psutil
from measured_figures import store

PROJECT = Path(__file__).parents[1]
KEDRO = (sys.executable, "-m", "kedro")
PORT = 7861

MARKS = {
    "Running node": "the first node begins",
    "Completed node: exp4.plan": "the plan is made",
    "Starting the page": "the page begins to start",
    "The page is at": "the page answers",
}
"""Words in the log, and what has happened by then."""


def timed(arguments: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Runs a command of Kedro; returns CPU and wall seconds by what has happened. A page is asked once and stopped."""
    found: dict[str, tuple[float, float]] = {}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*KEDRO, *arguments], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    watched, last = psutil.Process(process.pid), (0.0, 0.0)
    for line in process.stdout or ():
        times = watched.cpu_times()
        last = (times.user + times.system, time.perf_counter() - begin)
        for words, name in MARKS.items():
            if words in line:
                found.setdefault(name, last)
        if "The page is at" in line:
            urlopen(f"http://127.0.0.1:{PORT}/").close()
            process.send_signal(signal.SIGTERM)  # a script may have switched Ctrl-C off
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"kedro {' '.join(arguments)} ended with {process.returncode}. Run `make demo` first.")
    cpu, wall = usage.ru_utime + usage.ru_stime, time.perf_counter() - begin
    return {**found, "the end": (cpu, wall), "from the last line to the end": (cpu - last[0], wall - last[1])}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows: list[dict[str, str | float]] = []
    print("| command | until | CPU s | wall s |\n|---|---|--:|--:|")
    for arguments in (
        ("--help",),
        ("registry", "list"),
        ("run", "--pipelines=preprocessing"),
        ("run", "--pipelines=exp4"),
        ("app", f"--port={PORT}"),
    ):
        every = [timed(arguments) for _ in range(runs)]
        for name in every[0]:
            cpu, wall = (min(of[name][number] for of in every) for number in (0, 1))
            rows.append({"command": " ".join(arguments), "until": name, "cpu": cpu, "wall": wall})
            print(f"| `kedro {' '.join(arguments)}` | {name} | {cpu:.2f} | {wall:.2f} |", flush=True)
    store("start-up", {"runs": runs, "rows": rows})


if __name__ == "__main__":
    main()

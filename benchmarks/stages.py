"""Measures what each node of an experiment costs: `kedro run --pipelines=exp4` on the demo, in a new folder.

    python benchmarks/stages.py [--epochs 10]

CPU seconds are those of the command and its workers, from the line that a node runs to the line that it is completed.
The demo's corpus and checkpoints are generated first, as they are by `make demo`. Writes measured/stages.json.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from measured_figures import store

PROJECT = Path(__file__).parents[1]
COMPLETED = re.compile(r"Completed node: (\S+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    epochs = parser.parse_args().epochs
    with tempfile.TemporaryDirectory() as folder:
        data = f"data_root={folder}/data"
        seconds = node_seconds(folder, "demo", data)
        seconds |= node_seconds(folder, "exp4", f"{data},training.num_train_epochs={epochs}")
    store("stages", {"epochs": epochs, "cpu_seconds": seconds})
    for name, cpu in seconds.items():
        print(f"{name}: {cpu:.2f} CPU s")


def node_seconds(folder: str, pipeline: str, parameters: str) -> dict[str, float]:
    """CPU seconds by node, in the order of the run."""
    command = [sys.executable, "-m", "kedro", "run", f"--pipelines={pipeline}", "--params", parameters]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    process = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    found: dict[str, float] = {}
    begin, lines = 0.0, []
    for line in process.stdout or ():
        lines.append(line)
        if "Running node: " in line:
            begin = cpu_seconds(process.pid)
        elif done := COMPLETED.search(line):
            found[done[1]] = cpu_seconds(process.pid) - begin
    if process.wait():
        raise SystemExit(f"{' '.join(command)} failed:\n{''.join(lines[-30:])}")
    return found


def cpu_seconds(process_id: int) -> float:
    """Of a process, its children, and those that have ended."""
    whole = psutil.Process(process_id)
    times = [process.cpu_times() for process in (whole, *whole.children(recursive=True))]
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)


if __name__ == "__main__":
    main()

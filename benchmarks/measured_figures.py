"""The figures of the page Performance: one JSON file for each part, with the date, the command and the machine.

A part is measured and stored by itself; write_performance.py makes the page of all of them.
"""

import json
import os
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "measured"


def store(part: str, figures: Any, threads: int | None = 1) -> None:
    """Writes the figures of a part in place of the earlier ones. `threads` is None where a GPU computes."""
    FOLDER.mkdir(exist_ok=True)
    about = {
        "date": date.today().isoformat(),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "machine": machine(threads),
        "figures": figures,
    }
    (FOLDER / f"{part}.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def stored(part: str) -> dict[str, Any] | None:
    """What `store` has written last, or None."""
    path = FOLDER / f"{part}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def machine(threads: int | None) -> dict[str, Any]:
    """The processor, its cores, the CPU threads that compute, memory, and versions."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft")},
    }

"""The most memory that a piece of work held: of the GPU where there is one, else of this process."""

import re
from contextlib import suppress
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


def forget_peak_memory() -> None:
    """Starts the count anew, so that it is of the work that follows and not of what this process did before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # a container may forbid it: then the peak is that of the process's whole life
        (_PROCESS / "clear_refs").write_text("5")  # man 5 proc: "Reset the peak resident set size"


def peak_memory_gib() -> float:
    """Highest use since `forget_peak_memory`; on a CPU it includes Python and its libraries, some 0.5 GiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    found = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
    assert found  # noqa: S101 - Linux has had this line since 2.6
    return int(found[1]) / 2**20

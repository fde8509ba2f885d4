"""What can go wrong with a clip, with the folder of prepared clips, and with the processes that prepare them."""

from pathlib import Path
from typing import Literal, get_args

Problem = Literal["missing", "unreadable", "no audio track", "silent", "too short", "timed out", "crashed"]

PROBLEMS: tuple[Problem, ...] = get_args(Problem)
"""Everything that can be wrong with a clip, in the order in which it is looked for."""


class ClipError(Exception):
    """One clip cannot be used: `problem` says which of PROBLEMS it is, the message starts with the file's name."""

    def __init__(self, path: Path, problem: Problem, detail: str) -> None:
        # All three reach Exception.args, so that the error survives the way back from a worker process.
        super().__init__(path, problem, detail)
        self.path = path
        self.problem: Problem = problem
        self.detail = detail

    @property
    def message(self) -> str:
        """The whole sentence: file name, problem, and what was found."""
        return f"{self.path.name}: {self.problem}: {self.detail}"

    def __str__(self) -> str:
        return self.message


class DiskFull(Exception):
    """The folder of prepared clips has no room for what is still to prepare; what is finished stays."""

    def __init__(self, folder: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(folder, needed_bytes, free_bytes)
        self.folder = folder
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes

    def __str__(self) -> str:
        return (
            f"{self.folder}: about {self.needed_bytes / 1e6:,.1f} MB are needed for the clips still to prepare, "
            f"{self.free_bytes / 1e6:,.1f} MB are free. Make room there, or move the folder to a larger disk; "
            f"then run again: the parts already finished are kept."
        )


class PreparationError(Exception):
    """The work stopped for a reason that no single clip explains, such as a killed worker process."""


class PartError(Exception):
    """A prepared part is not there or is not whole."""

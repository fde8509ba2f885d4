"""Atomic writing of files, and readable errors for a full disk."""

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

# The messages of libraries that replace the system's errors by their own: safetensors (Rust) and torch.save.
_NO_ROOM_IN_WORDS = ("No space left on device", "Disk quota exceeded", "] . unexpected pos ")

# Names of temporary files of `written_whole`: file, process id, and 32 hexadecimal digits.
_BESIDE = re.compile(r"\..*\.\d+\.[0-9a-f]{32}\.tmp")

LEFTOVER_SECONDS = 24 * 60 * 60
"""A temporary file that is older than this is no longer being written."""


class DiskFull(Exception):
    """The disk is too full to write `path`; finished files are kept."""

    def __init__(self, path: Path, needed: str = "it could not be written") -> None:
        super().__init__(path, needed)
        self.path = path
        self.needed = needed

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.needed}, and {free_space(self.path) / 1e6:,.1f} MB are free. Make room there, or use "
            "a larger disk with --params data_root=FOLDER; then run again. Finished files are kept."
        )


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Raises DiskFull if the disk of `folder` has too little space for `what`; the folder need not exist yet."""
    if needed_bytes > free_space(folder):
        raise DiskFull(folder, f"about {needed_bytes / 1e6:,.1f} MB are needed for {what}")


def free_space(folder: Path) -> int:
    """Free bytes on the disk of a file or folder, which need not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(existing).free


def says_disk_full(error: BaseException | None) -> bool:
    """Whether the error, or one of its causes, reports a full disk or an exceeded quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        if any(words in str(error) for words in _NO_ROOM_IN_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it to `path` at the end; on an error, deletes it.

    Creates the folder. Raises DiskFull if the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if says_disk_full(error):
            raise DiskFull(path) from error
        raise


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files that killed processes left in `folder` or below it more than a day ago."""
    with suppress(OSError):  # a network folder may fail for a moment, which must not end a run
        for path in folder.rglob(".*.tmp"):
            with suppress(OSError):  # another run may remove it at the same time
                if _BESIDE.fullmatch(path.name) and time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()

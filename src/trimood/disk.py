"""Files that are whole or not there, and what to say when the disk has no room for them."""

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

# What those become in libraries that put the system's errors into words of their own: safetensors (Rust), torch.save.
_NO_ROOM_IN_WORDS = ("No space left on device", "Disk quota exceeded", "] . unexpected pos ")


# The names that `written_whole` gives: of the file, the process, and 32 hexadecimal digits.
_BESIDE = re.compile(r"\..*\.\d+\.[0-9a-f]{32}\.tmp")

LEFTOVER_SECONDS = 24 * 60 * 60
"""How old a half-written file is before nobody can still be writing it."""


class DiskFull(Exception):
    """There is no room for what is to be written; what is finished stays."""

    def __init__(self, path: Path, needed: str = "it could not be written") -> None:
        super().__init__(path, needed)
        self.path = path
        self.needed = needed

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.needed}, and {free_space(self.path) / 1e6:,.1f} MB are free. Make room there, or give "
            "a larger disk with --params data_root=FOLDER; then run again: what is finished is kept."
        )


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Raises DiskFull where the disk of `folder`, which need not exist yet, has less room than is needed for `what`."""
    if needed_bytes > free_space(folder):
        raise DiskFull(folder, f"about {needed_bytes / 1e6:,.1f} MB are needed for {what}")


def free_space(folder: Path) -> int:
    """Bytes that are free on the disk of a file or folder, which need not exist yet."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free


def says_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, is for a full disk or a used-up quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        if any(words in str(error) for words in _NO_ROOM_IN_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a name beside `path` to write to, and moves it there at the end; leaves nothing behind on an error.

    Its folder is made. Raises DiskFull in the place of the system's own errors for that.
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
    """Removes, at any depth, what writers that were killed have left of `written_whole` a day ago or earlier."""
    with suppress(OSError):  # a folder of a network that fails for a moment: tidying is no reason to end a run
        for path in folder.rglob(".*.tmp"):
            with suppress(OSError):  # another run may remove it at the same time
                if _BESIDE.fullmatch(path.name) and time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()

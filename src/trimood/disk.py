"""Files that are whole or not there, and what to say when the disk has no room for them."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(Exception):
    """There is no room for what is to be written; what is finished stays."""

    def __init__(self, folder: Path, needed_bytes: int, free_bytes: int, what: str = "what is still to be written"):
        super().__init__(folder, needed_bytes, free_bytes, what)
        self.folder = folder
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        self.what = what

    def __str__(self) -> str:
        return (
            f"{self.folder}: about {self.needed_bytes / 1e6:,.1f} MB are needed for {self.what}, "
            f"{self.free_bytes / 1e6:,.1f} MB are free. Make room there, or give a larger disk with "
            "--params data_root=FOLDER; then run again: what is finished is kept."
        )


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Raises DiskFull where the disk of `folder`, which need not exist yet, has less room than is needed for `what`."""
    free_bytes = free_space(folder)
    if needed_bytes > free_bytes:
        raise DiskFull(folder, needed_bytes, free_bytes, what)


def free_space(folder: Path) -> int:
    """Bytes that are free on the disk of a folder, which need not exist yet."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free


def says_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, is the system's for a full disk or a used-up quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
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
        written = beside.stat().st_size if beside.exists() else 0
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        # Libraries in Rust put the system's error into words of their own.
        if says_disk_full(error) or "No space left on device" in str(error):
            raise DiskFull(path.parent, written, free_space(path.parent), path.name) from error
        raise

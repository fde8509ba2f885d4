"""Atomic writing of files, locks between commands, and readable errors for a full disk."""

import errno
import filecmp
import json
import logging
import os
import re
import shlex
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

# The messages of libraries that replace the system's errors by their own: safetensors (Rust) and torch.save.
_NO_ROOM_IN_WORDS = ("No space left on device", "Disk quota exceeded", "] . unexpected pos ")

# Names of temporary files of `written_whole`: file, process id, and 32 hexadecimal digits.
_BESIDE = re.compile(r"\..*\.\d+\.[0-9a-f]{32}\.tmp")

_LONGEST_STEM_BYTES = 200
"""A name may have 255 bytes, and the temporary one is longer than that of the file."""

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
def written_whole(path: Path, keep_equal: bool = False, outlasts_power: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it to `path` at the end; on an error, deletes it.

    The content is on the disk before the file has its name, so that a file is whole also after a power failure. With
    `keep_equal`, an equal file stays as it is. `outlasts_power` is False for caches that notice a damaged file when
    they read it, and make it again: waiting for the disk takes longer than making a small file. Creates the folder.
    Raises DiskFull if the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem.encode()[:_LONGEST_STEM_BYTES].decode(errors="ignore")
    beside = path.with_name(f".{stem}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
    try:
        beside.touch()
        mode = beside.stat().st_mode  # as the umask says; safetensors makes files that only their owner can read
        yield beside
        if keep_equal and path.is_file() and filecmp.cmp(beside, path, shallow=False):
            beside.unlink()
            return
        beside.chmod(mode)
        if outlasts_power:
            synchronise(beside)
        os.replace(beside, path)
        if outlasts_power:
            synchronise(path.parent)
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


def synchronise(path: Path) -> None:
    """Returns when the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Holder:
    """The command that holds a lock; `trains` means that nobody may change what it trains on."""

    command: str
    process: int
    host: str
    since: str
    trains: bool = False

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.process} on {self.host}, since {self.since})"


class InUse(Exception):
    """Another command holds a lock, or trains on what would be changed."""


_held: dict[Path, FileLock] = {}

_STARTED = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")

_PATIENCE_SECONDS = 1.0
"""Nothing is logged about a lock that is held for less than this: `holder_of` takes one for an instant."""


def hold(lock: Path, wait: bool) -> None:
    """Takes the lock for this process, which keeps it until `release`, or until it ends, however it ends.

    If another process holds it, waits for it and says so in the log, or, without `wait`, raises InUse.
    """
    if lock in _held:
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    file, said = FileLock(lock, thread_local=False), None
    while not file.is_locked:
        try:
            file.acquire(timeout=_PATIENCE_SECONDS)
        except Timeout:
            holder = _noted_in(lock)
            if not wait:
                raise InUse(f"{lock.parent}: in use by {holder}") from None
            if holder != said:
                log.info("%s: waiting for %s", lock.parent, holder)
            said = holder
    _held[lock] = file
    note_holder(lock)


def lock_of_folder(path: Path) -> Path:
    """The lock of a generated folder, beside it."""
    return path.with_name(f".{path.name}.lock")


def note_holder(lock: Path, trains: bool = False) -> None:
    """Writes beside a lock of this process who holds it."""
    program = "kedro" if Path(sys.argv[0]).name in ("kedro", "__main__.py") else sys.argv[0]
    command = f"{program} {shlex.join(sys.argv[1:])}"
    holder = Holder(command, os.getpid(), socket.gethostname(), _STARTED, trains)
    with written_whole(_note(lock)) as beside:
        beside.write_text(json.dumps(asdict(holder)), encoding="utf-8")


def release(*locks: Path) -> None:
    """Releases those of these locks that this process holds."""
    for lock in locks:
        if file := _held.pop(lock, None):
            file.release()


def release_all() -> None:
    """Releases all locks of this process."""
    release(*_held)


def held() -> list[Path]:
    """The locks of this process."""
    return [*_held]


def forget(lock: Path) -> None:
    """Releases a lock that is used once, and removes its files."""
    release(lock)
    for path in (lock, _note(lock)):
        path.unlink(missing_ok=True)


def is_held(lock: Path) -> bool:
    """Whether this process holds the lock."""
    return lock in _held


def holder_of(lock: Path) -> Holder | None:
    """Who holds the lock, if it is another process."""
    if lock in _held or not lock.exists():
        return None
    try:
        with FileLock(lock, timeout=0, thread_local=False):
            return None
    except Timeout:
        return _noted_in(lock)


def _note(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.json")


def _noted_in(lock: Path) -> Holder:
    try:
        return Holder(**json.loads(_note(lock).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # taken this instant, or the disk is full
        return Holder("another command", 0, "an unknown machine", "just now")

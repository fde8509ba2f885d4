"""What is in each file, as a digest; a file that is as it was when it was hashed is not read again."""

import hashlib
import json
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trimood.disk import written_whole
from trimood.media.errors import ClipError, require_file
from trimood.media.execution import followed
from trimood.media.on_processes import core_count

SETTLED_SECONDS = 2.0
"""A file that changed less than this before it was hashed may change again within the same tick of the disk's clock, so
its digest is not kept. The slowest clock, FAT's, ticks every two seconds."""

AT_ONCE = 1000
"""Digests are kept after so many files; an interruption loses no more."""

State = tuple[int, int, int, int]
"""Size in bytes, time of the last change of the content and of the last change at all in ns, and inode."""


@dataclass(frozen=True)
class Known:
    """A folder with the digests of files that were hashed before, and whether all files are hashed again."""

    folder: Path
    hash_again: bool = False


def content_name(clip: Path) -> str:
    """40 hexadecimal digits computed from the bytes of a file, independent of its name and folder. Raises ClipError."""
    require_file(clip)
    try:
        with clip.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
    except OSError as error:
        raise ClipError(clip, "unreadable", f"the file cannot be read ({error.strerror})") from error


def content_names(paths: Iterable[Path], known: Known | None) -> dict[Path, str | ClipError]:
    """The `content_name` of each file, or its error.

    With `known`, only files that are new or have changed are read: a file is the same if its size, both its times and
    its inode are. Copying, renaming or replacing a file changes one of them, also if the copy keeps the time of its
    content; only a file system that keeps no such times, or writing to a disk past its file system, can deceive this.
    """
    settled = time.time_ns() - SETTLED_SECONDS * 10**9
    states = {path: _state(path) for path in sorted(set(paths))}
    kept = _read(known.folder, states) if known else {}
    noted = {} if known is None or known.hash_again else kept
    names: dict[Path, str | ClipError] = {
        path: noted[path][1] for path, state in states.items() if path in noted and noted[path][0] == state
    }
    left = [path for path in states if path not in names]
    if not left:
        return names
    new: Noted = {}
    with ThreadPoolExecutor(core_count()) as pool:  # hashing and reading release the GIL
        hashed = followed(pool.map(_name_or_error, left), len(left), "hashing clips")
        for number, (path, name) in enumerate(zip(left, hashed, strict=True), 1):
            names[path], state = name, states[path]
            if isinstance(name, str) and state and state == _state(path) and max(state[1:3]) < settled:
                new[path] = (state, name)
            if known and (number % AT_ONCE == 0 or number == len(left)):
                _write(known.folder, new)
                new = {}
    return names


def _state(path: Path) -> State | None:
    """None for what is no file, and for a file that cannot be asked."""
    with suppress(OSError, ValueError):
        found = os.stat(path)
        if stat.S_ISREG(found.st_mode):
            return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    return None


def _name_or_error(path: Path) -> str | ClipError:
    try:
        return content_name(path)
    except ClipError as error:
        return error


Noted = dict[Path, tuple[State, str]]


def _read(folder: Path, paths: Iterable[Path]) -> Noted:
    """What is kept of the files in the folders of these paths; a damaged file counts as nothing."""
    noted: Noted = {}
    for of in {path.parent for path in paths}:
        with suppress(OSError, ValueError, TypeError, AttributeError):
            rows = json.loads(_file(folder, of).read_text(encoding="utf-8"))
            noted |= {of / name: (tuple(state), str(digest)) for name, (*state, digest) in rows.items()}
    return noted


def _write(folder: Path, new: Noted) -> None:
    """Adds what is new, and leaves out what is gone. Of two commands at once one may win: the other hashes again."""
    by_folder: defaultdict[Path, Noted] = defaultdict(dict)
    for path, row in {**_read(folder, new), **new}.items():
        by_folder[path.parent][path] = row
    for of in {path.parent for path in new}:
        there = set(os.listdir(of))
        rows = {path.name: [*state, digest] for path, (state, digest) in by_folder[of].items() if path.name in there}
        with written_whole(_file(folder, of), outlasts_power=False) as beside:
            beside.write_text(json.dumps(rows), encoding="utf-8")


def _file(folder: Path, of: Path) -> Path:
    return folder / f"{hashlib.blake2b(os.fsencode(of.absolute()), digest_size=8).hexdigest()}.json"

"""Whole files, and full disks put plainly."""

import errno
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trimood.disk import (
    LEFTOVER_SECONDS,
    DiskFull,
    free_space,
    remove_leftovers,
    require_space,
    says_disk_full,
    written_whole,
)
from trimood.media.parts import write_whole

LARGE = {"weights": torch.zeros(100_000)}
WRITERS = {
    "bytes": lambda path: path.write_bytes(bytes(400_000)),
    "safetensors": lambda path: save_file(LARGE, path),
    "torch": lambda path: torch.save(LARGE, path),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_recognised_in_what_each_library_raises(small_disk: Path, writer: str) -> None:
    with (
        pytest.raises(DiskFull, match=r"best: it could not be written, and 0\.\d MB are free\. Make room"),
        written_whole(small_disk / "best") as path,
    ):
        WRITERS[writer](path)
    assert list(small_disk.iterdir()) == []


def test_other_errors_pass_as_they_are_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "a") as path:
        (tmp_path / "no such file").rename(path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_have_the_longest_name_that_the_disk_allows(tmp_path: Path) -> None:
    longest = tmp_path / (83 * "\u3042" + "ab.mp4")
    assert len(longest.name.encode()) == 255
    with written_whole(longest) as path:
        path.write_text("whole")
    assert longest.read_text() == "whole"


def test_until_it_is_whole_the_earlier_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("earlier")
    with written_whole(tmp_path / "a") as path:
        path.write_text("new")
        assert (tmp_path / "a").read_text() == "earlier"
    assert (tmp_path / "a").read_text() == "new"


def test_the_reason_may_lie_below_other_errors() -> None:
    outer = ValueError("cannot save")
    outer.__cause__ = OSError(errno.ENOSPC, "No space")
    assert says_disk_full(outer)
    assert not says_disk_full(OSError(errno.EACCES, "Permission denied"))
    assert not says_disk_full(None)


def test_space_is_asked_of_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_space(tmp_path / "a" / "b") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
    require_space(tmp_path / "a" / "b", 1000, "a test")
    with pytest.raises(DiskFull, match=r"b: about 1,000,000,000\.0 MB are needed for a test, and"):
        require_space(tmp_path / "a" / "b", 10**15, "a test")


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    names = []
    for age_seconds in (LEFTOVER_SECONDS + 10, LEFTOVER_SECONDS - 600):
        with pytest.raises(FileNotFoundError), written_whole(tmp_path / "deep" / "a.mp4") as path:
            (tmp_path / "no such file").rename(path)
        names.append(path.name)
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_seconds,) * 2)
    for own in (".notes.tmp", "a.mp4", f".a.12.{'f' * 31}.tmp"):
        (tmp_path / "deep" / own).write_bytes(b"somebody's")
        os.utime(tmp_path / "deep" / own, (0, 0))
    before = {path.name for path in tmp_path.rglob("*.*")}
    remove_leftovers(tmp_path)
    assert before - {path.name for path in tmp_path.rglob("*.*")} == {names[0]}


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).suffix or 'folder'}")
        fsync(descriptor)

    def replaced(*paths: Path) -> None:
        done.append("replace")
        replace(*paths)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.replace", replaced)
    with written_whole(tmp_path / "a") as path:
        path.write_text("new")
    assert done == ["fsync .tmp", "replace", "fsync folder"]
    done.clear()
    with written_whole(tmp_path / "a", outlasts_power=False) as path:
        path.write_text("newer")
    assert done == ["replace"]
    done.clear()
    write_whole(tmp_path / "part", b"content")  # whose damage would not all be noticed
    assert done == ["fsync .tmp", "replace"]


def test_an_equal_file_stays_as_it_is_if_that_is_asked_for(tmp_path: Path) -> None:
    for content, keep_equal, stays in (("a", True, True), ("b", True, False), ("b", False, False)):
        (tmp_path / "file").touch()
        if content == "a":
            (tmp_path / "file").write_text("a")
        before = (tmp_path / "file").stat().st_ino
        with written_whole(tmp_path / "file", keep_equal=keep_equal) as path:
            path.write_text(content)
        assert ((tmp_path / "file").stat().st_ino == before) is stays
        assert (tmp_path / "file").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_file_has_the_mode_of_the_umask_whichever_library_writes_it(tmp_path: Path, writer: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        with written_whole(tmp_path / "file") as path:
            WRITERS[writer](path)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask

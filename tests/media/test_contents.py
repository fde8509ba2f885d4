"""A file is hashed once, and again as soon as anything about it has changed."""

import os
import time
from pathlib import Path

import pytest

from trimood.media import contents
from trimood.media.contents import Known, content_name, content_names
from trimood.media.errors import ClipError


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read; those that a test has just written count as settled."""
    names: list[str] = []

    def name_of(path: Path) -> str:
        names.append(path.name)
        return content_name(path)

    monkeypatch.setattr(contents, "content_name", name_of)
    monkeypatch.setattr(contents, "SETTLED_SECONDS", 0)
    return names


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "train" / f"{number}.mp4" for number in range(3)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 10)
    return paths


def test_a_file_that_is_as_it_was_is_not_read_again(clips: list[Path], tmp_path: Path, hashed: list[str]) -> None:
    known = Known(tmp_path / "known")
    first = content_names(clips, known)
    assert sorted(hashed) == ["0.mp4", "1.mp4", "2.mp4"]
    assert content_names(clips, known) == first == content_names(clips, None)
    assert len(hashed) == 6  # only without `known` they were read again
    assert first == {path: content_name(path) for path in clips}


def test_all_are_read_again_where_that_is_asked_for(clips: list[Path], tmp_path: Path, hashed: list[str]) -> None:
    first = content_names(clips, Known(tmp_path / "known"))
    assert content_names(clips, Known(tmp_path / "known", hash_again=True)) == first
    assert len(hashed) == 6


def replace(path: Path) -> None:
    """By another file with the same size and the same time of its content, as `cp --preserve` and rsync do."""
    before = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(b"x" * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def overwrite(path: Path) -> None:
    """In place, with the same size and the same time of its content."""
    before = path.stat()
    path.write_bytes(b"y" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def exchange(path: Path) -> None:
    """With its neighbour, of the same size."""
    for a, b in ((path, "aside"), (path.with_name("1.mp4"), path.name), (path.with_name("aside"), "1.mp4")):
        a.rename(path.with_name(b))


@pytest.mark.parametrize("change", [replace, overwrite, exchange, lambda path: path.write_bytes(b"longer than before")])
def test_a_changed_file_has_its_new_content(  # type: ignore[no-untyped-def]
    clips: list[Path], tmp_path: Path, hashed: list[str], change
) -> None:
    before = content_names(clips, Known(tmp_path / "known"))
    change(clips[0])
    now = content_names(clips, Known(tmp_path / "known"))
    assert now == {path: content_name(path) for path in clips}
    assert now[clips[0]] != before[clips[0]]
    assert now[clips[2]] == before[clips[2]]
    assert hashed.count("2.mp4") == 1


def test_the_digest_of_a_file_that_may_still_change_unseen_is_not_kept(
    clips: list[Path], tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SETTLED_SECONDS", 60)
    for _ in range(2):
        content_names(clips, Known(tmp_path / "known"))
    assert len(hashed) == 6


def test_a_file_that_changed_just_before_a_long_hashing_is_not_kept_either(
    clips: list[Path], tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    os.utime(clips[0], ns=(now, now + 10**9))  # changed after hashing begins, as far as the disk's clock can tell
    monkeypatch.setattr(contents, "SETTLED_SECONDS", 0.5)
    times = iter([now, *[now + 60 * 10**9] * 9])
    monkeypatch.setattr(contents.time, "time_ns", lambda: next(times))
    content_names(clips[:1], Known(tmp_path / "known"))
    content_names(clips[:1], Known(tmp_path / "known"))
    assert hashed == ["0.mp4", "0.mp4"]


def test_an_interrupted_hashing_keeps_what_was_hashed(
    clips: list[Path], tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "AT_ONCE", 1)
    written = contents._write

    def interrupt(folder: Path, new: contents.Noted) -> None:
        written(folder, new)
        if len(hashed) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(contents, "_write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        content_names(clips, Known(tmp_path / "known"))
    monkeypatch.setattr(contents, "_write", written)
    hashed.clear()
    content_names(clips, Known(tmp_path / "known"))
    assert len(hashed) < 3


def test_a_file_that_changes_while_it_is_read_is_read_again(
    clips: list[Path], tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = contents.content_name

    def grows(path: Path) -> str:
        name = reads(path)
        path.write_bytes(path.read_bytes() + b"more")
        return name

    with monkeypatch.context() as patched:
        patched.setattr(contents, "content_name", grows)
        content_names(clips[:1], Known(tmp_path / "known"))
    assert content_names(clips[:1], Known(tmp_path / "known")) == {clips[0]: content_name(clips[0])}


def test_a_file_that_is_gone_or_no_file_is_an_error_and_is_forgotten(
    clips: list[Path], tmp_path: Path, hashed: list[str]
) -> None:
    content_names(clips, Known(tmp_path / "known"))
    clips[0].unlink()
    clips[1].unlink()
    clips[1].mkdir()
    for _ in range(2):
        names = content_names(clips, Known(tmp_path / "known"))
        assert [isinstance(names[path], ClipError) for path in clips] == [True, True, False]
    added = clips[2].with_name("3.mp4")
    added.write_bytes(b"new")
    content_names([added], Known(tmp_path / "known"))
    (kept,) = (tmp_path / "known").iterdir()
    assert "0.mp4" not in kept.read_text()
    assert "2.mp4" in kept.read_text()


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"0.mp4": 1}', '{"0.mp4": []}', "\0" * 100])
def test_damaged_notes_count_as_none(clips: list[Path], tmp_path: Path, hashed: list[str], damaged: str) -> None:
    first = content_names(clips, Known(tmp_path / "known"))
    (kept,) = (tmp_path / "known").iterdir()
    kept.write_text(damaged)
    assert content_names(clips, Known(tmp_path / "known")) == first
    assert content_names(clips, Known(tmp_path / "known")) == first
    assert len(hashed) == 6

"""Facts about clips as they are kept: whole or not at all, whatever happens to the command that writes them."""

import errno
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from trimood.disk import DiskFull
from trimood.media.facts import ClipFacts, append_facts, own_file, read_facts

A = ClipFacts(content="a" * 40, frame_count=10, video_seconds=1.0, container="mov,mp4")
B = ClipFacts(content="b" * 40, audio_problem="silent", audio_detail="“no sound”")


def keep(folder: Path, *facts: ClipFacts) -> Path:
    file = own_file(folder, "pyav", "mean")
    for of in facts:
        append_facts(file, of)
    return file


def test_facts_are_read_as_they_were_kept(tmp_path: Path) -> None:
    assert read_facts(tmp_path / "facts", "pyav", "mean") == {}
    keep(tmp_path / "facts", A, B)
    assert read_facts(tmp_path / "facts", "pyav", "mean") == {"a" * 40: A, "b" * 40: B}


def test_each_reader_and_way_of_hearing_has_its_own_facts(tmp_path: Path) -> None:
    keep(tmp_path, A)
    assert read_facts(tmp_path, "decord", "mean") == read_facts(tmp_path, "pyav", "first") == {}
    append_facts(own_file(tmp_path, "decord", "mean"), B)
    assert list(read_facts(tmp_path, "decord", "mean")) == ["b" * 40]
    assert list(read_facts(tmp_path, "pyav", "mean")) == ["a" * 40]


def test_two_commands_at_once_keep_the_facts_of_both(tmp_path: Path) -> None:
    first, second = own_file(tmp_path, "pyav", "mean"), own_file(tmp_path, "pyav", "mean")
    for file, facts in ((first, A), (second, A), (second, B)):
        append_facts(file, facts)
    assert first != second
    assert read_facts(tmp_path, "pyav", "mean") == {"a" * 40: A, "b" * 40: B}


def test_a_command_killed_at_any_byte_loses_only_the_line_that_it_was_writing(tmp_path: Path) -> None:
    file = keep(tmp_path, A, B)
    whole = file.read_bytes()
    first = whole.index(b"\n")
    for length in (*range(0, len(whole), 13), first - 1, first, first + 1, len(whole) - 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        found = read_facts(tmp_path, "pyav", "mean")
        assert found == (
            {} if length < first else {"a" * 40: A} if length < len(whole) - 1 else {A.content: A, B.content: B}
        )


@pytest.mark.parametrize(
    "broken", [b"\0" * 300, b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"frames": 3}', b'{"frame_count": 3}']
)
def test_a_damaged_line_counts_as_nothing_and_hides_no_other(tmp_path: Path, broken: bytes) -> None:
    file = keep(tmp_path, A)
    file.write_bytes(broken + b"\n" + file.read_bytes() + broken)
    assert read_facts(tmp_path, "pyav", "mean") == {"a" * 40: A}


def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskFull, match="jsonl"):
        keep(tmp_path, A)


def test_sixteen_thousand_clips_are_one_file_of_a_few_megabytes(tmp_path: Path) -> None:
    line = json.dumps(asdict(A)).encode() + b"\n"
    assert keep(tmp_path, A).read_bytes() == line
    assert 16_720 * len(line) < 12e6

"""Files of the configuration: what cannot be read, and numbers that YAML reads as others than are written."""

from pathlib import Path

import pytest
from fsspec.core import OpenFile
from fsspec.implementations.local import LocalFileSystem

from trimood.config.conf_files import ConfError, check_conf_files, misread, read_node


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("042", "34"),
        ("0123", "83"),
        ("-017", "-15"),
        ("00", "0"),
        ("0x10", "16"),
        ("0b11", "3"),
        ("1_000", "1000"),
        ("1_0.5", "10.5"),
        ("12:30:45", "45045"),
        ("12:30.5", "750.5"),
    ],
)
def test_a_number_that_yaml_reads_as_another_is_named_with_both(written: str, read: str) -> None:
    assert f"YAML reads {written} as {read}." in (misread(written) or "")


@pytest.mark.parametrize(
    "written",
    ["42", "0", "-7", "+5", "1e3", "1e-5", "5.0e-05", ".5", "1.50", "089", "0o17", "yes", "nan", ".inf", "2026-01-02",
     "1234e5", "q_proj", "a:b", "12:3x", "3rd", "-", "exp4", "0123abc", ""],
)  # fmt: skip
def test_other_words_are_read_as_they_are_written_or_checked_by_type(written: str) -> None:
    assert misread(written) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"training:\n  seed: 042\n", r"parameters\.yml, line 2: training\.seed: YAML reads 042 as 34"),
        (b"compare:\n  runs: [abc, 0123]\n", r"line 2: compare\.runs: YAML reads 0123 as 83"),
        (b"compare: {runs: ['0123', \"042\"]}\ntext: 0 1\n", None),
        (b"a: 1\nb: {c: 1, d: 2,\n  c: 3}\n", r"line 3: b\.c: this key is given twice"),
        (b"a: [1\n", r"parameters\.yml, line 2: not valid YAML: "),
        (b"a: \xff\n", r"parameters\.yml: not UTF-8 \(byte 3\)"),
        (b"", None),
        (b"# nothing\n", None),
        (b"\xef\xbb\xbfa: 1\n", None),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, content: bytes, words: str | None) -> None:
    (tmp_path / "base" / "compare").mkdir(parents=True)
    (tmp_path / "base" / "compare" / "parameters.yml").write_bytes(content)
    if words is None:
        check_conf_files(str(tmp_path), ("base", "demo"))
        return
    with pytest.raises(ConfError, match=words):
        check_conf_files(str(tmp_path), ("base", "demo"))


@pytest.mark.parametrize("content", ["a: &a [*a]\n", 5000 * "[" + 5000 * "]"], ids=["itself", "deep"])
def test_a_file_without_an_end_is_refused_by_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.yml").write_text(content)
    with pytest.raises(ConfError, match=r"a\.yml: it is nested too deeply, or a part of it contains itself"):
        read_node(OpenFile(LocalFileSystem(), str(tmp_path / "a.yml")))

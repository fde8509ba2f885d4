"""What people wrote is read as they meant it, or refused by its line."""

import json
from pathlib import Path

import pytest

from trimood.corpus.reading import TextError, as_meant, csv_rows, in_one_line, parse_json, shortened

LINE_MARKS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\u2028", "\u2029"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("I\x92m here", "I’m here"),
        ("\x93No\x94 \x97 well\x85", "“No” — well…"),
        ("caf\xe9 \x80 5", "café € 5"),
        ("I 'm  here ", "I 'm  here "),
        ("\x81", "\x81"),  # not a character of Windows-1252
    ],
)
def test_what_remains_of_windows_1252_is_what_it_was(text: str, meant: str) -> None:
    assert as_meant(text) == meant


@pytest.mark.parametrize("mark", LINE_MARKS, ids=ascii)
def test_no_line_mark_remains_in_words(mark: str) -> None:
    assert as_meant(f"one{mark}two") == "one two"
    assert in_one_line(f" one{mark}{mark} two ") == "one two"
    assert len(as_meant(f"one{mark}two").splitlines()) == 1


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 3}', '[{"x": {"a": 1, "a": 1}}]'])
def test_a_key_that_occurs_twice_is_refused(text: str) -> None:
    assert json.loads(text)  # Python's own reader keeps the last value
    with pytest.raises(ValueError, match="the key 'a' occurs 2 times in one object"):
        parse_json(text)


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(TextError, match="nested too deeply"):
        parse_json("[" * 100_000)


def rows(folder: Path, content: str | bytes) -> list[tuple[int, list[str]]]:
    path = folder / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(csv_rows(path))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('clip,text\na.mp4,"Well, I mean\nb.mp4,Hi there\nc.mp4,Bye\n', 2),
        ('clip,text\na.mp4,"Well I mean\nb.mp4,Hi there\nc.mp4,"Bye now\nd.mp4,ok\n', 2),
        ('clip,text\na.mp4,ok\n\nb.mp4,"Well I mean\nc.mp4,Hi there\nd.mp4,Bye"\ne.mp4,ok\n', 4),
        ('clip,text\na.mp4,"two\nlines"\nb.mp4,"open', 4),
        ('clip,"text\na.mp4,b', 1),
    ],
)
def test_a_quote_that_is_never_closed_is_named_by_its_line(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(TextError, match=f"line {line}: the quote that opens in line {line} is n"):
        rows(tmp_path, content)


def test_what_is_wrong_with_a_row_is_said_in_csvs_own_words(tmp_path: Path) -> None:
    for field, reason in (('"No"no', "',' expected after '\"'"), ("x" * 200_000, "field larger than field limit")):
        with pytest.raises(TextError, match="^line 3: not CSV: " + reason):
            rows(tmp_path, f"clip,text\na.mp4,ok\nb.mp4,{field}\n")


def test_a_quoted_field_may_speak_of_a_clip_in_its_second_line(tmp_path: Path) -> None:
    content = 'clip,text\na.mp4,"see\nb.mp4, he said"\n'
    assert rows(tmp_path, content)[1] == (2, ["a.mp4", "see\nb.mp4, he said"])
    with pytest.raises(TextError, match="the quote that opens in line 2 is not closed"):
        rows(tmp_path, 'clip,text\na.mp4,"see\nb.mp4, he said",x\n')


def test_quotes_that_are_closed_are_read_as_they_are(tmp_path: Path) -> None:
    content = 'clip,text\r\na.mp4,"Oh, ""no""!" \r\n\r\nb.mp4,He said "hi"\r\nc.mp4,"two\r\nlines"\r\n'
    assert rows(tmp_path, content) == [
        (1, ["clip", "text"]),
        (2, ["a.mp4", 'Oh, "no"!']),
        (4, ["b.mp4", 'He said "hi"']),
        (5, ["c.mp4", "two\nlines"]),
    ]


@pytest.mark.parametrize("mark", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"], ids=ascii)
def test_a_line_mark_within_a_field_makes_no_second_row(tmp_path: Path, mark: str) -> None:
    found = rows(tmp_path, f"clip,text\na.mp4,one{mark}two\nb.mp4,three\n")
    assert [(line, len(row)) for line, row in found] == [(1, 2), (2, 2), (3, 2)]
    assert in_one_line(found[1][1][1]) in ("one two", "one…two")


def test_a_file_may_end_its_lines_with_carriage_returns_alone(tmp_path: Path) -> None:
    assert [row for _, row in rows(tmp_path, b"\xef\xbb\xbfclip,text\ra.mp4,Hi\r")] == [
        ["clip", "text"],
        ["a.mp4", "Hi"],
    ]


def test_user_data_in_a_message_is_short() -> None:
    assert shortened("a" * 60) == "a" * 60
    assert shortened("a" * 61) == "a" * 57 + "..."

"""Reads what people wrote: words as they were meant, JSON with unique keys, CSV whose quotes are closed."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimood.config.parameters import unique_keys
from trimood.media.names import ENDINGS

if TYPE_CHECKING:
    import pandas as pd

_LINE_MARKS = re.compile("[\n\r\v\f\x1c-\x1e\u2028\u2029]+")
_WINDOWS_1252 = {n: bytes([n]).decode("cp1252", "ignore") or chr(n) for n in range(0x80, 0xA0)}  # five are undefined
_SPACE_AFTER_QUOTE = re.compile(r'"[ \t]+(?=[,\n]|\Z)')

_ROW_OR_WORDS = re.compile(rf"[^,]*(?:{'|'.join(map(re.escape, ENDINGS))})\s*,", re.IGNORECASE)
_ROW = re.compile(rf"{_ROW_OR_WORDS.pattern}(?! )", re.IGNORECASE)
"""The beginning of a row: the name of a clip, and a comma; in words, a space follows."""


_BEGINS_A_FORMULA = r"(?=['=+@\t\r-])"
"""Text that a spreadsheet may run (https://owasp.org/www-community/attacks/CSV_Injection), or has an apostrophe."""


class TextError(ValueError):
    """Text that cannot be read; `place`, such as "line 3", begins the message if there is one."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.place = place


def as_meant(text: str) -> str:
    """The text in one line, with each control character of U+0080 to U+009F as the character it has in Windows-1252.

    Such characters come from Windows-1252 that was read as Latin-1: U+0092 was an apostrophe, U+0085 an ellipsis. Marks
    that end a line for some readers, such as U+2028, become spaces.
    """
    return _LINE_MARKS.sub(" ", text.translate(_WINDOWS_1252))


def in_one_line(text: str) -> str:
    """Words as they were meant, without line breaks and repeated spaces."""
    return " ".join(as_meant(text).split())


def shortened(words: str, length: int = 60) -> str:
    """At most `length` characters of user data, for an error message."""
    return words if len(words) <= length else words[: length - 3] + "..."


def for_spreadsheet(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with an apostrophe before each text that a spreadsheet may run, such as `=HYPERLINK(…)`."""
    return _in_texts(table, f"^{_BEGINS_A_FORMULA}", "'")


def from_spreadsheet(table: "pd.DataFrame") -> "pd.DataFrame":
    """The inverse of `for_spreadsheet`."""
    return _in_texts(table, f"^'{_BEGINS_A_FORMULA}", "")


def _in_texts(table: "pd.DataFrame", pattern: str, replacement: str) -> "pd.DataFrame":
    return table.map(lambda cell: re.sub(pattern, replacement, cell) if isinstance(cell, str) else cell)


def parse_json(text: str) -> Any:
    """The content of a JSON text. Raises ValueError for invalid JSON, and if a key occurs twice in an object."""
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except RecursionError:
        raise TextError("objects and lists are nested too deeply") from None


def csv_rows(path: Path, errors: str = "strict") -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not empty, each with the number of its first line. Raises TextError and OSError.

    `errors` is for bytes that are not UTF-8, as in `bytes.decode`.
    """
    return csv_rows_of(path.read_bytes().decode("utf-8-sig", errors))


def csv_rows_of(content: str) -> Iterator[tuple[int, list[str]]]:
    """The same as `csv_rows`, for the text of a file.

    Only line feeds end a row, or carriage returns in a file without line feeds: other line marks belong to a field.
    """
    content = content.replace("\r\n", "\n")
    content = content.replace("\r", " ") if "\n" in content else content.replace("\r", "\n")
    rows = csv.reader(io.StringIO(_SPACE_AFTER_QUOTE.sub('"', content), newline="\n"), strict=True)
    columns = 0
    while True:
        first = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            is_open = str(error) == "unexpected end of data" or rows.line_num > first
            doubled = ". Within quotes, write a quote twice" if '"' in str(error) else ""
            problem = f"the quote that opens in line {first} is never closed ({error})" if is_open else ""
            problem = problem or f"not CSV: {error}{doubled}"
            raise TextError(problem, f"line {first}") from error
        if row is None:
            return
        columns = columns or len(row)
        begins = _ROW if len(row) == columns else _ROW_OR_WORDS
        # A quote that is closed only by another one, some rows later, would silently make these rows words.
        for line in (line for field in row for line in field.split("\n")[1:] if begins.match(line)):
            problem = f"the quote that opens in line {first} is not closed before {shortened(line, 40)!r}"
            raise TextError(problem, f"line {first}")
        if row:
            yield first, row

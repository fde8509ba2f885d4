"""Subtitles and transcripts of one clip: SRT, WebVTT, and what Whisper writes (JSON, TSV, text)."""

import html
import html.entities
import logging
import math
import re
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

from trimood.corpus.reading import TextError, as_meant, parse_json
from trimood.media.files import SUBTITLE_FORMATS, open_media

log = logging.getLogger(__name__)

SUBTITLES = (".srt", ".vtt", ".json", ".tsv", ".txt")
"""Endings of files with the words of one clip; of several beside a clip, the first of these is read."""

OTHER_SUBTITLES = (".ass", ".ssa", ".sub", ".sbv", ".ttml", ".dfxp", ".smi", ".lrc")
"""Endings of subtitles that are not read, and named instead."""

# The tags of WebVTT (w3.org/TR/webvtt1) and those in wide use in SRT: anything else in angle brackets is a word.
_TAG = re.compile(
    r"</?(?:[ibu]|em|strong|ruby|rt|font|span|(?-i:c))>"
    r"|<(?-i:[cibu]|ruby|rt)\.[^\s<>]+>"
    r"|<(?:font|span|p|(?-i:c))(?:\.[^\s<>]*)?\s[^<>]*=[^<>]*>"
    r"|</?(?-i:v|lang)(?:\.[^\s<>]*)?(?:\s[^<>]*)?>"
    r"|<([sp])>(?=.*</\1>)|</[sp]>"  # alone, they are words
    r"|<(?:\d+:)?\d\d:\d\d[.,]\d{3}>"  # the time of a word
    r"|\{\\[^{}]*\}|\{/?[biu]\}",  # {\an8}, {i}
    re.IGNORECASE | re.DOTALL,
)
_LINE_BREAK = re.compile(r"\n|<br\s*/?>|\\N")
_ENTITY = re.compile(r"&(#\d+|#[xX][0-9a-fA-F]+|\w+);")

_FLASH_MILLISECONDS = 50
"""The cues between two lines of YouTube's automatic captions last 10 ms."""

_GAP_MILLISECONDS = 100

_REPEATS_IN_A_ROW = 3
"""People say "Wait." and "Wait. What?", but do not go on like this."""

_SAID_NOW = re.compile(r"<[cu]>|<(?:\d+:)?\d\d:\d\d[.,]\d{3}>")


class Cue(NamedTuple):
    """A subtitle: start and end in whole milliseconds, and the words."""

    start_milliseconds: int
    end_milliseconds: int
    text: str


class _Shown(NamedTuple):
    """What a screen shows for a while: words by line, and the text as it is in the file."""

    start: int
    end: int
    lines: tuple[tuple[str, ...], ...]
    marked_up: str

    def words(self, first_line: int = 0) -> tuple[str, ...]:
        return tuple(word for line in self.lines[first_line:] for word in line)


def is_transcript(path: Path) -> bool:
    """Whether a file with one of SUBTITLES is such: JSON may also be a table, or hold something else."""
    if path.suffix.lower() != ".json":
        return True
    try:
        content = parse_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and isinstance(content.get("segments"), list)


def cues_of(path: Path) -> list[Cue]:
    """The cues of a file that have words, in order of time, without markup; a text file is one cue without a time.

    Of rolling captions, each word is in one cue. Raises ValueError and OSError, among them FFmpeg's errors.
    """
    ending = path.suffix.lower()
    if ending in (".srt", ".vtt"):
        shown = sorted((cue for cue in _subtitles(path) if cue.words()), key=lambda cue: cue.start)
        return _each_word_once(path, shown) if _rolls(shown) else _cues((*cue[:2], cue.words()) for cue in shown)
    content = path.read_text(encoding="utf-8-sig")
    if ending == ".txt":
        return _cues([(0, 0, as_meant(content).split())])
    rows = _rows_of_tsv(content) if ending == ".tsv" else _segments(content)
    return sorted(_cues((start, end, as_meant(text).split()) for start, end, text in rows))


def _cues(spans: Iterable[tuple[int, int, Iterable[str]]]) -> list[Cue]:
    cues = [Cue(start, end, " ".join(words)) for start, end, words in spans]
    return [cue for cue in cues if cue.text]


def _subtitles(path: Path) -> Iterator[_Shown]:
    with open_media(path, SUBTITLE_FORMATS) as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None and packet.time_base is not None:
                start, end = (1000 * time * packet.time_base for time in (packet.pts, packet.pts + packet.duration))
                text = bytes(packet).decode("utf-8")
                lines = [tuple(_unescaped(line).split()) for line in _LINE_BREAK.split(_TAG.sub("", text))]
                yield _Shown(round(start), round(end), tuple(line for line in lines if line), text)


def _unescaped(line: str) -> str:
    """The line with its entities, such as &amp;, as characters: after the removal of tags, so that &lt;i&gt; stays."""
    return as_meant(_ENTITY.sub(_character, line))


def _character(entity: re.Match[str]) -> str:
    is_known = entity[1].startswith("#") or f"{entity[1]};" in html.entities.html5  # unescape reads &notit; as &not
    return html.unescape(entity[0]) if is_known else entity[0]


def _rows_of_tsv(content: str) -> Iterator[tuple[int, int, str]]:
    """Whisper's milliseconds and words."""
    columns, *rows = content.replace("\r\n", "\n").split("\n")
    if columns.split("\t") != ["start", "end", "text"]:
        raise TextError("expected the columns start, end and text, with tabs between them")
    for number, row in enumerate(rows, start=2):
        if row.strip():
            start, end, text = [*row.split("\t", 2), "", ""][:3]
            if not start.isdecimal() or not end.isdecimal():
                raise TextError("expected two times in whole milliseconds before the words", f"line {number}")
            yield int(start), int(end), text


def _segments(content: str) -> Iterator[tuple[int, int, str]]:
    """The segments of Whisper's JSON, whose times are in seconds."""
    for number, segment in enumerate(parse_json(content)["segments"], start=1):
        start, end, text = map(segment.get, ("start", "end", "text")) if isinstance(segment, dict) else (None,) * 3
        times = [time for time in (start, end) if isinstance(time, int | float) and math.isfinite(time)]
        if len(times) < 2 or not isinstance(text, str):
            raise TextError("expected start and end in seconds, and text", f"segment {number}")
        yield round(1000 * times[0]), round(1000 * times[1]), text


def _rolls(shown: list[_Shown]) -> bool:
    """Whether these are rolling captions: most cues show again what the cue before has shown.

    People repeat themselves too. So there must be a mark that they do not make, which is a flash or the markup of the
    word that is being said, or many repeats in a row.
    """
    repeats: list[bool] = []
    marks, pairs = False, 0
    for one, other in pairwise(shown):
        is_next = other.start - one.end <= _GAP_MILLISECONDS
        new = _new_words(one, other)
        flash = min(cue.end - cue.start for cue in (one, other)) <= _FLASH_MILLISECONDS
        said = one.marked_up != other.marked_up and any(_SAID_NOW.search(cue.marked_up) for cue in (one, other))
        rolled = len(one.lines) + len(other.lines) > 2 or flash or said or bool(new)
        repeats.append(is_next and rolled and len(new) < len(other.words()))
        marks |= repeats[-1] and (flash or said)
        pairs += is_next
    in_a_row = max((sum(group) for _, group in groupby(repeats)), default=0)
    return sum(repeats) > 1 and 2 * sum(repeats) >= pairs and (marks or in_a_row >= _REPEATS_IN_A_ROW)


def _each_word_once(path: Path, shown: list[_Shown]) -> list[Cue]:
    said: list[Cue] = []
    before = _Shown(0, 0, (), "")
    for cue in shown:
        new = _new_words(before, cue)
        if cue.start - before.end > _GAP_MILLISECONDS:  # said again, after a pause
            new = cue.words()
        if new:
            said.append(Cue(cue.start, cue.end, " ".join(new)))
        elif cue.lines == before.lines and cue.end - cue.start > _FLASH_MILLISECONDS:  # the next word of it is marked
            said[-1] = said[-1]._replace(end_milliseconds=cue.end)
        before = cue
    log.info("%s: rolling captions, of which each word is taken once", path.name)
    return said


def _new_words(before: _Shown, cue: _Shown) -> tuple[str, ...]:
    """The words of a cue after those that the last lines of the cue before have shown already."""
    words = cue.words()
    for line in range(len(before.lines)):
        old = before.words(line)
        if words[: len(old)] == old:
            return words[len(old) :]
    return words

"""Utterances from the user's own clips (a file or a folder) and words (given directly or in a file)."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from trimood.config.parameters import listed
from trimood.corpus.tables import OWN_UTTERANCE_COLUMNS
from trimood.corpus.words import ALLOWED, SUBTITLES, TABLES, WordsError, read_cues, read_words

log = logging.getLogger(__name__)

CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wav", ".mp3", ".m4a", ".flac", ".ogg", ".opus")
"""Extensions of the clips that are found in a folder; a single clip may have any name."""

_NAMED = 5


class _Utterance(NamedTuple):
    """A row of OWN_UTTERANCE_COLUMNS; without milliseconds, the utterance is the whole clip."""

    utterance: str
    text: str
    clip: str = ""
    start_milliseconds: int | None = None
    end_milliseconds: int | None = None


def own_utterances(clips: str | None, text: str | None) -> pd.DataFrame:
    """One row for each utterance (OWN_UTTERANCE_COLUMNS).

    `clips` is a file or a folder, `text` words or a file with words; without `text`, files beside the clips are used.
    Each cue of subtitles is an utterance; a single cue is the text of the whole clip. Raises WordsError.
    """
    given = _as_file(text)
    if clips is None:
        rows = _words_alone(given if given else text)
    else:
        place = Path(clips).expanduser()
        names = _clips_in(place)
        if given is None and text is not None:
            if len(names) > 1:
                raise WordsError(
                    f"text={text}: the same words for {len(names)} clips. Give one clip, or a file with the words of "
                    f"each clip. {ALLOWED}"
                )
            rows = [_Utterance(name, text, str(path)) for name, path in names.items()]
        else:
            rows = list(_with_words(place, names, given))
    if twice := _repeated(row.utterance for row in rows):  # a cue of a.srt is a_001, as is a_001.mp4
        raise WordsError(f"{twice}: two utterances would have this name. Rename one of the files.")
    return pd.DataFrame(rows, columns=list(OWN_UTTERANCE_COLUMNS)).astype(OWN_UTTERANCE_COLUMNS)


def _as_file(text: str | None) -> Path | None:
    """The file that `text` names; None for words or None."""
    if text is None or not text.lower().endswith((*TABLES, *SUBTITLES)):
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        raise WordsError(f"text={text}: no such file. Give a file with words, or the words themselves. {ALLOWED}")
    return path


def _clips_in(place: Path) -> dict[str, Path]:
    """Clips by name: one file, or all clips in a folder and its sub-folders, sorted; hidden ones are skipped."""
    if place.is_file():
        return {place.stem: place}
    if not place.is_dir():
        raise WordsError(f"clips={place}: no such file or folder. Give a clip, or a folder of clips.")
    found = [
        path
        for path in sorted(place.rglob("*"))
        if path.suffix.lower() in CLIPS
        and path.is_file()
        and not any(step.startswith(".") for step in path.relative_to(place).parts)
    ]
    if not found:
        raise WordsError(f"clips={place}: no clip in this folder or its sub-folders; looked for {', '.join(CLIPS)}.")
    short = Counter(path.with_suffix("") for path in found)
    names = [path if short[path.with_suffix("")] > 1 else path.with_suffix("") for path in found]
    return {name.relative_to(place).as_posix(): path for name, path in zip(names, found, strict=True)}


def _words_alone(source: Path | str | None) -> list[_Utterance]:
    if source is None:
        raise WordsError("Nothing to predict: give clips=FILE-OR-FOLDER, text=WORDS-OR-FILE, or both.")
    if isinstance(source, str):
        return [_Utterance("words", source)]
    if source.suffix.lower() in TABLES:
        return [_Utterance(Path(clip).with_suffix("").as_posix(), words) for clip, words in read_words(source).items()]
    return [_Utterance(f"{source.stem}_{number:03}", cue.text) for number, cue in enumerate(read_cues(source), start=1)]


def _with_words(place: Path, names: Mapping[str, Path], given: Path | None) -> Iterator[_Utterance]:
    """The clips with the words of the given file, or else of the files beside them."""
    if given and given.suffix.lower() in SUBTITLES:
        (name, path), *others = names.items()
        if others:
            raise WordsError(f"text={given}: subtitles belong to one clip, got {len(names)} clips. {ALLOWED}")
        yield from _of_cues(name, path, given)
        return
    table = given or _table_beside(place)
    words = _matched(read_words(table), names, table) if table else {}
    for name, path in names.items():
        subtitles = None if given else _subtitles_beside(path)
        if name not in words and subtitles:
            yield from _of_cues(name, path, subtitles)
        else:
            yield _Utterance(name, words.get(name, ""), str(path))


def _table_beside(place: Path) -> Path | None:
    folder = place if place.is_dir() else place.parent
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLES)
    if place.is_file():  # other files beside a single clip may belong to other clips
        found = [path for path in found if path.stem == place.stem]
    if len(found) > 1:
        raise WordsError(
            f"{folder}: {len(found)} files may hold the words: {', '.join(path.name for path in found)}. Choose one: "
            "text=FILE"
        )
    return found[0] if found else None


def _subtitles_beside(clip: Path) -> Path | None:
    return next((path for ending in SUBTITLES if (path := clip.with_suffix(ending)).is_file()), None)


def _matched(words: Mapping[str, str], names: Mapping[str, Path], table: Path) -> dict[str, str]:
    """The words by clip name; a table may name clips with or without extension and folder."""
    by_stem = Counter(path.stem for path in names.values())
    spellings = {path.name: name for name, path in names.items() if by_stem[path.stem] == 1}
    spellings |= {path.stem: name for name, path in names.items() if by_stem[path.stem] == 1}
    spellings |= {f"{name}{path.suffix}": name for name, path in names.items()} | {name: name for name in names}
    if twice := _repeated(spellings[clip] for clip in words if clip in spellings):
        raise WordsError(f"{table}: {twice}: more than one row for the same clip; keep one.")
    matched = {spellings[clip]: text for clip, text in words.items() if clip in spellings}
    unmatched = [clip for clip in words if clip not in spellings]
    if unmatched:
        first = listed(unmatched, _NAMED)
        if not matched:
            raise WordsError(f"{table}: none of its {len(words)} clips matches one of yours: {first}")
        log.warning("%s: %d of its %d clips match none of yours: %s", table.name, len(unmatched), len(words), first)
    return matched


def _of_cues(name: str, path: Path, subtitles: Path) -> list[_Utterance]:
    cues = read_cues(subtitles)
    if len(cues) < 2:
        return [_Utterance(name, cues[0].text if cues else "", str(path))]
    return [
        _Utterance(f"{name}_{number:03}", cue.text, str(path), cue.start_milliseconds, cue.end_milliseconds)
        for number, cue in enumerate(cues, start=1)
    ]


def _repeated(names: Iterable[str]) -> str:
    """The first names that occur more than once, or ""."""
    return listed([name for name, count in Counter(names).items() if count > 1], _NAMED)

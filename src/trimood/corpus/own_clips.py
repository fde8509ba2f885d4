"""Utterances from the user's own clips (a file or a folder) and words (given directly or in a file)."""

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from trimood.config.parameters import listed
from trimood.corpus.reading import in_one_line, shortened
from trimood.corpus.subtitles import OTHER_SUBTITLES, SUBTITLES, is_transcript
from trimood.corpus.tables import OWN_UTTERANCE_COLUMNS
from trimood.corpus.words import ALLOWED, TABLES, Said, WordsError, read_cues, read_words
from trimood.media.names import ENDINGS, files_below, seems_media, spelling

log = logging.getLogger(__name__)

_NAMED = 5
_BLANK_BYTES = 4  # Whisper writes empty files for silence

# What may stand between a clip's name and the ending of its subtitles: "en", "pt-BR", "zh_Hans", "eng.sdh", "en-orig".
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{1,8})*|english|forced|default|sdh|cc|hi", re.IGNORECASE)
_ENGLISH = re.compile(r"en(?:g|glish)?\b", re.IGNORECASE)


# What uploads and file systems take out of a name, besides slashes: "Oh no!.mp4" becomes "Oh no.mp4".
_TAKEN_OUT = re.compile(r'[<>:"|?*`$!{}\x00-\x1f\x7f]')


class _Utterance(NamedTuple):
    """A row of OWN_UTTERANCE_COLUMNS; without milliseconds, the utterance is the whole clip."""

    utterance: str
    text: str
    clip: str = ""
    start_milliseconds: int | None = None
    end_milliseconds: int | None = None
    conversation_id: str = ""
    utterance_id: int = 0
    speaker: str = ""
    emotion: str = ""

    @classmethod
    def of(cls, name: str, said: Said, clip: str = "") -> "_Utterance":
        """What a table of words says of a clip."""
        return cls(name, said.text, clip, None, None, *said[1:])


def own_utterances(clips: str | None, text: str | None) -> pd.DataFrame:
    """One row for each utterance (OWN_UTTERANCE_COLUMNS).

    `clips` is a file or a folder, `text` words or a file with words; without `text`, files beside the clips are used.
    Each cue of subtitles is an utterance; a single cue is the text of the whole clip. Raises WordsError.
    """
    given = _as_file(text)
    if clips is None:
        rows = _words_alone(given if given else text)
    else:
        place = Path(os.path.expanduser(clips))  # unlike that of Path, it raises nothing for ~USER
        names = _clips_in(place)
        if given is None and text is not None:
            if len(names) > 1:
                raise WordsError(
                    f"text={shortened(text)}: the same words for {len(names)} clips. Give one clip, or a file with the "
                    f"words of each clip. {ALLOWED}"
                )
            rows = [_Utterance(name, in_one_line(text), str(path)) for name, path in names.items()]
        else:
            rows = list(_of_file(given, names) if given else _of_files_beside(place, names))
    if twice := _repeated(row.utterance for row in rows):  # a cue of a.srt is a_001, as is a_001.mp4
        raise WordsError(f"{twice}: two utterances would have this name. Rename one of the files.")
    for row in rows:
        if any(
            re.search("[\ud800-\udfff]", value) for value in row if isinstance(value, str)
        ):  # half a character: no table can store it
            raise WordsError(
                f"{row.utterance!a}: its name or its words are not UTF-8. Rename the file, or correct the words."
            )
    return pd.DataFrame(rows, columns=list(OWN_UTTERANCE_COLUMNS)).astype(OWN_UTTERANCE_COLUMNS)


def _as_file(text: str | None) -> Path | None:
    """The file that `text` names; None for words or None. Raises WordsError for one of a kind that is not read."""
    if text is None:
        return None
    path = Path(os.path.expanduser(text))
    ending = path.suffix.lower()
    try:
        is_there, is_file = path.exists(), path.is_file()
    except OSError:  # words that are too long for a name
        is_there = is_file = False
    if ending in (*TABLES, *SUBTITLES) and (is_file or ending == ".txt"):  # words may end so
        return path if is_file else None
    if ending in (*TABLES, *SUBTITLES):
        raise WordsError(
            f"text={shortened(text)}: no such file. Give a file with words, or the words themselves. {ALLOWED}"
        )
    is_name = is_there or not re.search(r"\s", text)  # else words, as in "What a dumb.ass"
    if (ending in OTHER_SUBTITLES and is_name) or (is_there and (ending or "/" in text)):
        kind = f"a file that ends with {ending}" if ending else "a folder, or a file without an ending"
        raise WordsError(f"text={shortened(text)}: {kind} is not read as words. {ALLOWED}")
    return None


def _clips_in(place: Path) -> dict[str, Path]:
    """Clips by name: one file, or all clips in a folder and its sub-folders, sorted; hidden ones are skipped."""
    if place.is_file():
        return {spelling(place.name)[0]: place}
    if not place.is_dir():
        raise WordsError(f"clips={place}: no such file or folder. Give a clip, or a folder of clips.")
    try:
        files = files_below(place)
    except OSError as error:
        raise WordsError(f"clips={place}: {error.filename} cannot be read ({error.strerror}).") from error
    found = [path for path in files if spelling(path.name)[1]]
    passed_over = [path for path in files if not spelling(path.name)[1] and seems_media(path)]
    others = listed([str(path.relative_to(place)) for path in passed_over], _NAMED)
    if passed_over:
        log.warning("%d media files are passed over because of their endings: %s", len(passed_over), others)
    if not found:
        raise WordsError(
            f"clips={place}: no clip in this folder or its sub-folders; looked for {', '.join(ENDINGS)}."
            + (f" Passed over: {others}." if passed_over else "")
        )
    short = Counter(_without_ending(path) for path in found)
    names = [path if short[_without_ending(path)] > 1 else _without_ending(path) for path in found]
    return {name.relative_to(place).as_posix(): path for name, path in zip(names, found, strict=True)}


def _without_ending(path: Path) -> Path:
    return path.with_name(path.stem) if spelling(path.name)[1] else path


def _words_alone(source: Path | str | None) -> list[_Utterance]:
    if source is None:
        raise WordsError("Nothing to predict: give clips=FILE-OR-FOLDER, text=WORDS-OR-FILE, or both.")
    if isinstance(source, str):
        return [_Utterance("words", in_one_line(source))]
    if not _is_transcript(source):
        return [_Utterance.of(spelling(clip)[0], said) for clip, said in read_words(source).items()]
    cues = enumerate(read_cues(source), start=1)
    return [
        _Utterance(f"{source.stem}_{number:03}", text, "", start, end, str(source), number)
        if end > start
        else _Utterance(f"{source.stem}_{number:03}", text, conversation_id=str(source), utterance_id=number)
        for number, (start, end, text) in cues
    ]


def _is_transcript(path: Path) -> bool:
    return path.suffix.lower() in SUBTITLES and is_transcript(path)


def _of_file(given: Path, names: Mapping[str, Path]) -> Iterator[_Utterance]:
    """The clips with the words of the given file."""
    if _is_transcript(given):
        (name, path), *others = names.items()
        if others:
            raise WordsError(f"text={given}: subtitles belong to one clip, got {len(names)} clips. {ALLOWED}")
        yield from _of_cues(name, path, given)
        return
    words = _matched(read_words(given), names, given)
    yield from (_Utterance.of(name, words.get(name, Said("")), str(path)) for name, path in names.items())


def _of_files_beside(place: Path, names: Mapping[str, Path]) -> Iterator[_Utterance]:
    """The clips with the words of the table in the folder, or else of the subtitles beside each clip."""
    top = place if place.is_dir() else place.parent
    owners: dict[tuple[Path, str], list[Path]] = {}
    for path in names.values():
        stem, ending = spelling(path.name)
        for key in {stem, stem + ending}:
            owners.setdefault((path.parent, key), []).append(path)
    tables, strange = [], []
    subtitles: dict[Path, list[tuple[str, Path]]] = {}
    for file in _files_with_words({top, *(path.parent for path in names.values())}):
        clips, label = _clips_of(file, owners)
        if clips and all(map(_LANGUAGE.fullmatch, label.split(".") if label else ())) and _is_transcript(file):
            for clip in clips:
                subtitles.setdefault(clip, []).append((label.lower(), file))
        elif file.suffix.lower() in TABLES and file.parent == top and not label and (clips or place.is_dir()):
            tables.append(file)
        elif file.suffix.lower() in (".srt", ".vtt") and place.is_dir():
            strange.append(file.name)
    if strange:
        log.warning("%d files of subtitles have the name of no clip: %s", len(strange), listed(strange, _NAMED))
    _name_unread(owners)
    if len(tables) > 1:
        named = listed([path.name for path in tables], _NAMED)
        raise WordsError(f"{top}: {len(tables)} files may hold the words: {named}. Keep one, or choose it: text=FILE")
    words = _matched(read_words(tables[0]), names, tables[0]) if tables else {}
    for name, path in names.items():
        if name not in words and path in subtitles:
            yield from _of_cues(name, path, _chosen(path, subtitles[path]))
        else:
            yield _Utterance.of(name, words.get(name, Said("")), str(path))


def _name_unread(owners: Mapping[tuple[Path, str], list[Path]]) -> None:
    """Logs the subtitles beside clips that are of a kind that is not read."""
    files = [file for folder in sorted({folder for folder, _ in owners}) for file in sorted(folder.iterdir())]
    if unread := [file.name for file in files if file.suffix.lower() in OTHER_SUBTITLES and _clips_of(file, owners)[0]]:
        message = "%d files of subtitles are of a kind that is not read: %s. Convert them: ffmpeg -i A.ass A.srt"
        log.warning(message, len(unread), listed(unread, _NAMED))


def _files_with_words(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in sorted(folders):
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in (*TABLES, *SUBTITLES) or path.name.startswith(".") or not path.is_file():
                continue
            if path.suffix.lower() in TABLES or path.stat().st_size > _BLANK_BYTES or path.read_bytes().strip():
                yield path
            else:
                log.warning("%s is empty and is passed over", path)


def _clips_of(file: Path, owners: Mapping[tuple[Path, str], list[Path]]) -> tuple[list[Path], str]:
    """The clips whose name, with or without its ending, begins the file's name; and what stands after it ("en").

    Of "a.mp4" and "a.b.mp4", "a.b.en.srt" belongs to the second. Without such a clip, the name's last dots count for
    nothing: ([], "").
    """
    key, label = "".join(spelling(file.stem)), ""
    while (file.parent, key) not in owners:
        key, dot, last = key.rpartition(".")
        if not dot:
            return [], ""
        label = f"{last}.{label}".rstrip(".")
    return owners[file.parent, key], label


def _chosen(clip: Path, files: list[tuple[str, Path]]) -> Path:
    """The file whose words are read: of no stated language, or else in English, or else in the only other language."""

    def rank(label: str) -> int:
        return (2 if label and not _ENGLISH.match(label) else bool(label)) + 3 * ("forced" in label)

    best = min(rank(label) for label, _ in files)
    labels = sorted({label for label, _ in files if rank(label) == best})
    if best == 2 and len(labels) > 1:
        raise WordsError(
            f"{clip}: there are subtitles in several languages ({listed(labels, _NAMED)}). Keep one of them, or name "
            f"it {clip.stem}.srt"
        )
    return min(
        (file for label, file in files if label == labels[0]), key=lambda file: SUBTITLES.index(file.suffix.lower())
    )


def _matched(words: Mapping[str, Said], names: Mapping[str, Path], table: Path) -> dict[str, Said]:
    """The words by clip name; a table may name clips with or without extension and folder.

    A spelling that fits exactly takes precedence over one that looks equal (`media.names.spelling`), that over one in
    other capitals, and that over one without the characters that uploads take out. A name that fits several clips fits
    none.
    """
    find = _finder(names)
    found = {clip: find(clip) for clip in words}
    if twice := _repeated(name for name in found.values() if name):
        raise WordsError(f"{table}: {twice}: more than one row for the same clip; keep one.")
    matched = {name: words[clip] for clip, name in found.items() if name}
    unmatched = [shortened(clip) for clip, name in found.items() if not name]
    if unmatched:
        first = listed(unmatched, _NAMED)
        if not matched:
            raise WordsError(f"{table}: none of its {len(words)} clips matches one of yours: {first}")
        log.warning("%s: %d of its %d clips match none of yours: %s", table.name, len(unmatched), len(words), first)
    return matched


def _finder(names: Mapping[str, Path]) -> Callable[[str], str | None]:
    alike: tuple[Callable[[str], str], ...] = (
        str,
        lambda name: "".join(spelling(name)),
        lambda name: "".join(spelling(name)).casefold(),
        lambda name: "".join(spelling(_TAKEN_OUT.sub("", name))).casefold(),
    )
    levels = []
    for same in alike:
        for form in (
            lambda name, path: f"{name}{path.suffix}",
            lambda name, _: name,
            lambda _, path: path.name,
            lambda _, path: path.stem,
        ):
            fitting: dict[str, list[str]] = {}
            for name, path in names.items():
                fitting.setdefault(same(form(name, path)), []).append(name)
            levels.append((same, fitting))

    def find(clip: str) -> str | None:
        fits = next((fitting[same(clip)] for same, fitting in levels if same(clip) in fitting), [])
        return fits[0] if len(fits) == 1 else None

    return find


def _of_cues(name: str, path: Path, subtitles: Path) -> list[_Utterance]:
    cues = read_cues(subtitles)
    if len(cues) < 2:
        return [_Utterance(name, cues[0].text if cues else "", str(path))]
    return [
        _Utterance(f"{name}_{number:03}", cue.text, str(path), *cue[:2], str(path), number)
        for number, cue in enumerate(cues, start=1)
    ]


def _repeated(names: Iterable[str]) -> str:
    """The first names that occur more than once, or ""."""
    return listed([name for name, count in Counter(names).items() if count > 1], _NAMED)

"""Names of media files: their endings, spellings that look equal, and the files below a folder."""

import mimetypes
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

VIDEO_ENDINGS = (
    *(".mp4", ".mov", ".m4v", ".qt", ".3gp", ".3g2", ".f4v"),
    *(".mkv", ".webm", ".avi", ".divx", ".ts", ".mts", ".m2ts", ".m2t", ".mpg", ".mpeg", ".mpe", ".m2p", ".vob"),
    *(".flv", ".wmv", ".asf", ".ogv", ".ogx", ".mxf", ".dv", ".rm", ".rmvb", ".ivf"),
)
SOUND_ENDINGS = (
    *(".wav", ".w64", ".aiff", ".aif", ".aifc", ".caf", ".au", ".snd", ".sph"),
    *(".m4a", ".m4b", ".mka", ".wma", ".ogg", ".oga", ".opus", ".spx", ".ra"),
    *(".flac", ".mp3", ".mp2", ".aac", ".ac3", ".amr", ".tta", ".wv"),
)
ENDINGS = VIDEO_ENDINGS + SOUND_ENDINGS
"""The endings, in small letters, by which files of FORMATS are found in a folder; a single clip may have any name."""

_BEGINNINGS = (b"RIFF", b"\x1aE\xdf\xa3", b"OggS", b"fLaC", b"FLV\x01", b"ID3", b"\x00\x00\x01\xba", b"#!AMR", b"FORM")


def spelling(name: str) -> tuple[str, str]:
    """A file's name or path for comparison: without its ending, and the ending if it is one of ENDINGS, else "".

    Names that look equal are equal: letters are composed (NFC; macOS writes them decomposed), spaces at the ends are
    dropped, the ending is in small letters, and a path has slashes.
    """
    parts = unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./").split("/")
    whole = "/".join(part.strip() for part in parts)
    stem, ending = os.path.splitext(whole)
    return (stem.rstrip(), ending.lower()) if ending.lower() in ENDINGS else (whole, "")


def video_names(folder: Path) -> dict[str, str]:
    """The names of video files in a folder by their spelling without ending; of several, the first in VIDEO_ENDINGS.

    A folder that does not exist has none.
    """
    spellings = [(*spelling(path.name), path.name) for path in folder.iterdir()] if folder.is_dir() else []
    found = [(VIDEO_ENDINGS.index(ending), stem, name) for stem, ending, name in spellings if ending in VIDEO_ENDINGS]
    return {stem: name for _, stem, name in sorted(found, reverse=True)}


def files_below(folder: Path) -> list[Path]:
    """The files in a folder and its sub-folders, sorted, without hidden ones.

    Linked folders are entered too, each real folder once, so that links in a circle end. Broken links are in the list,
    as missing files. Raises OSError for a folder that cannot be read.
    """
    seen: set[str] = set()
    waiting = [folder]
    found: list[Path] = []
    while waiting:
        found += _files_in(waiting.pop(0), seen, waiting)
    return sorted(found)


def _files_in(folder: Path, seen: set[str], linked: list[Path]) -> Iterator[Path]:
    """Files below a folder whose real path was not seen before; linked folders are added to `linked`, for later."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.is_symlink():
                linked.append(path)
            else:
                yield from _files_in(path, seen, linked)
        elif path.is_file() or not path.exists():  # no pipe or device
            yield path


def seems_media(path: Path) -> bool:
    """Whether the name's ending or the first bytes of a file are those of sound or video, of any format."""
    kind, _ = mimetypes.guess_type(path.name)
    if kind and kind.startswith(("video/", "audio/")):
        return True
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(_BEGINNINGS) or start[4:8] == b"ftyp"

"""Finds the file of an episode in a folder: by its exact name, or by the season and episode in its name."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import av

from trimood.media.files import open_media, video_track
from trimood.media.names import files_below, spelling

SeasonEpisode = tuple[int, int]
"""Season and episode."""

# S01E01, s1.e1, S09E23E24, S09E23-E24, S09E23-24; and 1x01, 9x23-24, but neither 1920x1080 nor x264.
_NAMED = (
    re.compile(r"(?<![a-z0-9])s(\d{1,2})[ ._-]?e(\d{1,3})((?:[ ._]?-?[ ._]?e\d{1,3}|-\d{2}(?![0-9a-z]))*)(?!\d)", re.I),
    re.compile(r"(?<![a-z0-9])(\d{1,2})x(\d{2})((?:-?x?\d{2}(?![0-9a-z]))*)(?!\d)", re.I),
)
_FINGERPRINT_BYTES = 2**20


class EpisodeError(Exception):
    """No file, or several files, for an episode; the message names them."""


class EpisodeFolder:
    """The files of a folder and its sub-folders, by the episodes in their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._files = {path: places_in(path.stem) for path in files_below(folder)}
        except OSError as error:
            raise EpisodeError(f"{error.filename}: this folder cannot be read ({error.strerror}).") from error

    def find(self, episode: str) -> Path:
        """The one file of an episode as an annotation names it, "S01E01". Raises EpisodeError.

        A file with exactly that name takes precedence, so renaming or linking a file resolves any ambiguity. A file
        with several episodes is used for the first one only, as annotated times count from the start of the file.
        Files without video, such as subtitles with the same name, are ignored.
        """
        exact = [path for path in self._files if spelling(path.stem)[0].lower() == spelling(episode)[0].lower()]
        found = [path for path in exact if _has_video(path)]
        if not found:
            wanted = places_in(episode)[:1]
            named = [path for path, places in self._files.items() if places[:1] == wanted and wanted]
            exact, found = [*exact, *named], [path for path in named if _has_video(path)]
        if len(found) == 1:
            return found[0]
        if found:
            raise EpisodeError(
                f"{episode}: {len(found)} files match: {self._names(found)}. Remove the others from the folder, or "
                f"rename the right one to {episode}{found[0].suffix}."
            )
        raise EpisodeError(self._nothing(episode, exact))

    def _nothing(self, episode: str, unplayable: Sequence[Path]) -> str:
        if unplayable:
            return f"{episode}: no video can be read from {self._names(unplayable)}. Download the episode again."
        within = [path for path, places in self._files.items() if set(places_in(episode)) & set(places[1:])]
        if within:
            return (
                f"{episode}: it is the second part of {self._names(within)}, but annotated times count from the "
                f"start of each episode. Split that file and name this part {episode}{within[0].suffix}."
            )
        return (
            f"{episode}: none of the {len(self._files)} files in {self._folder} has this name, or this season and "
            "episode in its name (S01E01, s01e01 or 1x01)."
        )

    def _names(self, paths: Sequence[Path]) -> str:
        return ", ".join(str(path.relative_to(self._folder)) for path in paths)


def places_in(name: str) -> tuple[SeasonEpisode, ...]:
    """Season and episode in a name, in order; several for a file of several episodes ("S09E23E24")."""
    for pattern in _NAMED:
        if found := pattern.search(name):
            season, first, others = found.groups()
            episodes = [int(first), *map(int, re.findall(r"\d+", others))]
            return tuple((int(season), episode) for episode in episodes)
    return ()


def file_fingerprint(path: Path) -> str:
    """A hash of an episode file's size and its first and last MiB; hashing whole files would take hours.

    It does not change when a file is renamed or moved.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_FINGERPRINT_BYTES))
        file.seek(max(0, size - _FINGERPRINT_BYTES), os.SEEK_SET)
        digest.update(file.read(_FINGERPRINT_BYTES))
    return digest.hexdigest()[:16]


def _has_video(path: Path) -> bool:
    try:
        with open_media(path) as container:
            return video_track(container) is not None
    except (av.error.FFmpegError, OSError):
        return False

"""Media files and subtitles, opened in one way that reads their own content and never another file that they name."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import av

from trimood.media.errors import ClipError

FORMATS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf"),  # mov is MP4 too, and matroska WebM
    *("ogg", "mxf", "dv", "rm", "ivf"),
    *("wav", "w64", "aiff", "caf", "au", "flac", "mp3", "aac", "ac3", "amr", "tta", "wv"),
)
"""FFmpeg's names of the formats that are read; none of them can refer to other files, as HLS and concat do."""


SUBTITLE_FORMATS = ("srt", "webvtt")


def open_media(path: Path, formats: Sequence[str] = FORMATS) -> av.container.InputContainer:
    """A container to read, of one of `formats`. Raises FFmpeg's own errors; ArgumentError for another format."""
    name = os.path.abspath(path)  # FFmpeg would take "12:30.mp4" for a file of the protocol 12
    try:
        # A title in another encoding than UTF-8 does not make a clip unusable.
        return av.open(name, metadata_errors="ignore", options={"format_whitelist": ",".join(formats)})
    except av.error.ArgumentError as error:
        raise av.error.ArgumentError(
            errno.EINVAL, f"it is of no format that is read, which are {', '.join(formats)}", name
        ) from error


def require_file(path: Path) -> None:
    """Raises ClipError if there is no file of this name, or it cannot be reached."""
    try:
        if path.is_file():
            return
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise ClipError(path, "unreadable", f"the file cannot be read ({error.strerror})") from error
    raise ClipError(path, "missing", f"no such file in {path.parent}")


def video_track(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first video track that is not a cover picture."""
    cover = av.stream.Disposition.attached_pic
    return next((track for track in container.streams.video if not track.disposition & cover), None)

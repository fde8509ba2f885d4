"""Media files, opened in one way: for what they hold themselves, never for what they name."""

import errno
import os
from pathlib import Path

import av

FORMATS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg"),  # mov: MP4 too; matroska: WebM too
    *("wav", "w64", "aiff", "caf", "au", "flac", "mp3", "aac", "ac3", "amr"),
)
"""FFmpeg's names of the formats that are read. Not among them are those that list other files, as HLS and concat do."""


def open_media(path: Path) -> av.container.InputContainer:
    """A container to read, of one of FORMATS. Raises FFmpeg's own errors; ArgumentError for another format."""
    name = os.fspath(path)
    try:
        # A title in another encoding than UTF-8 is no reason to refuse a clip.
        return av.open(name, metadata_errors="ignore", options={"format_whitelist": ",".join(FORMATS)})
    except av.error.ArgumentError as error:
        raise av.error.ArgumentError(
            errno.EINVAL, f"it is of no format that is read, which are {', '.join(FORMATS)}", name
        ) from error

"""Opens media files and subtitles without following references to other files."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import av

FORMATS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf"),  # mov includes MP4, matroska includes WebM
    *("ogg", "mxf", "dv", "rm", "ivf"),
    *("wav", "w64", "aiff", "caf", "au", "nistsphere", "flac", "mp3", "aac", "ac3", "amr", "tta", "wv"),
)
"""FFmpeg's names of the supported formats; none can refer to other files, unlike HLS and concat."""

SUBTITLE_FORMATS = ("srt", "webvtt")

_DEFAULT = av.stream.Disposition.default
_PICTURES = (
    av.stream.Disposition.attached_pic | av.stream.Disposition.still_image | av.stream.Disposition.timed_thumbnails
)
_STILL_CODECS = ("png", "mjpeg", "bmp", "gif", "webp", "tiff", "jpeg2000")

Track = TypeVar("Track", av.VideoStream, av.AudioStream)


def open_media(path: Path, formats: Sequence[str] = FORMATS, **options: str) -> av.container.InputContainer:
    """Opens a file of one of the formats for reading, with more of FFmpeg's options.

    Raises FFmpeg's errors; ArgumentError for another format.
    """
    name = os.path.abspath(path)  # FFmpeg would read "12:" in "12:30.mp4" as a protocol
    try:
        # A title in another encoding than UTF-8 does not make a clip unusable.
        return av.open(name, metadata_errors="ignore", options={"format_whitelist": ",".join(formats), **options})
    except av.error.ArgumentError as error:
        raise av.error.ArgumentError(
            errno.EINVAL, f"unsupported format; supported are {', '.join(formats)}", name
        ) from error


def video_track(container: av.container.InputContainer) -> av.VideoStream | None:
    """The track of moving pictures marked default, else the first; a still picture only if there is no other track.

    Covers and thumbnails that are marked as such are never taken.
    """
    tracks = [track for track in container.streams.video if not track.disposition & _PICTURES]
    return min(tracks, key=lambda track: (_is_still(track), not track.disposition & _DEFAULT), default=None)


def audio_track(container: av.container.InputContainer, language: str = "") -> av.AudioStream | None:
    """The first audio track in the language, else the one marked default, else the first."""
    tracks = container.streams.audio
    return min(tracks, key=lambda track: (track.language != language, not track.disposition & _DEFAULT), default=None)


def _is_still(track: av.VideoStream) -> bool:
    return track.frames == 1 or (track.codec_context is not None and track.codec_context.name in _STILL_CODECS)


def decodable(track: Track) -> Track:
    """The track, to be decoded in one thread, as clips are processed in parallel. Raises ValueError."""
    if track.codec_context is None:
        raise ValueError(f"FFmpeg does not know the codec of its {track.type} track")
    track.thread_type = "NONE"
    return track

"""Whether a file was cut short: what its container states of its length, compared with what is there.

MPEG streams state nothing, and neither do recordings that were sent while they were made: these are taken as they are.
"""

import os
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from trimood.media.completeness_of_sound import SOUND_CHECKS, UNKNOWN_32_BITS, Check, beyond, read_at
from trimood.media.errors import ClipError
from trimood.media.files import open_media

_ALLOWED_SECONDS, _ALLOWED_SHARE = 0.2, 0.05
"""How much earlier than stated the last frame may end: recorders measure the length by their own clock."""

_RIFF_SLACK_BYTES = 64
"""Some programs miscount the size of their own header."""

_LONGEST_HEADER_BYTES = 2**16


def require_whole(path: Path) -> None:
    """Raises ClipError if the file lacks its end, as after an interrupted copy, download or recording."""
    if lacking := missing_end(path):
        raise ClipError(path, "unreadable", f"the file was cut short: {lacking}. Copy it from its source again")


def missing_end(path: Path) -> str:
    """What is missing at the end of a file; empty if it is whole or its container does not say. Raises ClipError."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
            size = file.seek(0, os.SEEK_END)
            check = next((check for at, magic, check in _CHECKS if start[at:].startswith(magic)), None)
            return check(path, file, size) if check else ""
    except OSError as error:
        raise ClipError(path, "unreadable", f"the file cannot be read ({error.strerror})") from error


def _mp4(path: Path, file: BinaryIO, size: int) -> str:
    """Source: ISO/IEC 14496-12, section 4.2: boxes of 32-bit size and name, with a 64-bit size if that is 1."""
    position, names = 0, set()
    while size - position >= 8:
        head = read_at(file, position, 16)
        length, name = struct.unpack(">I4s", head[:8])
        length = struct.unpack(">Q", head[8:])[0] if length == 1 and len(head) == 16 else length
        if length == 0 and name == b"mdat" and b"moov" in names:
            return _lacks_samples(path, size)
        if length < 8 or not name.isalnum():  # 0: up to the end of the file; else no box
            return ""
        names.add(name)
        if position + length > size:
            has_index = name == b"mdat" and b"moov" in names and b"moof" not in names
            return _lacks_samples(path, size) if has_index else beyond(name, position + length, size)
        position += length
    return ""


def _lacks_samples(path: Path, size: int) -> str:
    """The index of what a player plays says whether the bytes that are gone matter."""
    with suppress(av.error.FFmpegError), open_media(path) as container:  # the readers report what else is wrong with it
        tracks = [track for track in container.streams if track.type in ("video", "audio")]
        ends = [entry.pos + entry.size for track in tracks for entry in track.index_entries]
        lost = sum(end > size for end in ends)
        return f"{lost} of its {len(ends)} frames and pieces of sound are missing" if lost else ""
    return ""


def _matroska(path: Path, file: BinaryIO, size: int) -> str:
    """Source: RFC 8794 (EBML) and RFC 9559 (Matroska). Elements of unknown size are entered, all others skipped.

    A recording that was sent while it was made ends wherever its connection or its recorder stopped.
    """
    position, seconds, entered = 0, 0.0, b""
    while position < size:
        head = read_at(file, position, 12)
        name_bytes = 9 - head[0].bit_length()
        size_bytes = 9 - head[name_bytes].bit_length() if len(head) > name_bytes else 99
        if not head[0] or name_bytes > 4 or (size_bytes > 8 and len(head) == 12):
            return ""  # no element: whatever follows is not Matroska
        if len(head) < name_bytes + size_bytes:
            if entered:
                break
            return "it ends within the head of an element"
        name, begin = head[:name_bytes], position + name_bytes + size_bytes
        length = int.from_bytes(head[name_bytes:][:size_bytes]) & (1 << 7 * size_bytes) - 1
        if length == (1 << 7 * size_bytes) - 1:
            position, entered = begin, name
            continue
        if begin + length > size:
            if entered == _CLUSTER and name != _CLUSTER:
                break
            return beyond(_EBML_NAMES.get(name, name.hex().encode()), begin + length, size)
        if name == _SEGMENT:
            return ""  # of known size; nothing behind it matters
        seconds = seconds or (_stated_seconds(read_at(file, begin, length)) if name == _INFO else 0.0)
        position = begin + length
    return _ends_early(path, seconds) if seconds else ""


_SEGMENT, _INFO, _CLUSTER = (bytes.fromhex(name) for name in ("18538067", "1549a966", "1f43b675"))
_EBML_NAMES = {
    _SEGMENT: b"Segment",
    _CLUSTER: b"Cluster",
    b"\xa3": b"SimpleBlock",
    b"\xa0": b"BlockGroup",
}


def _stated_seconds(info: bytes) -> float:
    """Duration (4489) of a segment, in units of TimestampScale (2AD7B1) nanoseconds; 0 if it is not stated."""
    found = re.search(rb"\x44\x89(?:\x84(.{4})|\x88(.{8}))", info, re.DOTALL)
    ticks = struct.unpack(">f" if found[1] else ">d", found[1] or found[2])[0] if found else 0.0
    scale = re.search(rb"\x2a\xd7\xb1(?:\x83(.{3})|\x84(.{4}))", info, re.DOTALL)
    return float(ticks) * (int.from_bytes(scale[1] or scale[2]) if scale else 1_000_000) / 1e9


def _ends_early(path: Path, stated_seconds: float) -> str:
    with suppress(av.error.FFmpegError), open_media(path) as container:
        times = [
            float((packet.dts if packet.pts is None else packet.pts) * packet.time_base)
            for packet in container.demux()
            if packet.size and (packet.pts is not None or packet.dts is not None)
        ]
        return _shorter(times, stated_seconds)
    return ""


def _shorter(times: list[float], stated: float) -> str:
    """Compares the stated seconds with the last of the times, whose frame may last as long as the longest before it."""
    end = max(times, default=0.0) + float(np.diff(sorted(times), prepend=0).max(initial=0))
    early = end < stated - max(_ALLOWED_SECONDS, _ALLOWED_SHARE * stated)
    return f"it states {stated:.1f} s and ends after {end:.1f} s" if early else ""


def _riff(path: Path, file: BinaryIO, size: int) -> str:
    """WAV, AVI and AIFF; a long AVI has several chunks RIFF."""
    position, order = 0, ">" if read_at(file, 0, 4) in (b"FORM", b"RIFX") else "<"
    while size - position >= 8:
        name, length = struct.unpack(f"{order}4sI", read_at(file, position, 8))
        if name not in (b"RIFF", b"RIFX", b"FORM") or not 0 < length < UNKNOWN_32_BITS:
            return ""
        position += 8 + length + length % 2
        if position > size + _RIFF_SLACK_BYTES:
            return beyond(name, position, size)
    return ""


def _rf64(path: Path, file: BinaryIO, size: int) -> str:
    """Source: EBU Tech 3306: the chunk ds64 has the size that does not fit into 32 bits."""
    (length,) = struct.unpack("<Q", read_at(file, 20, 8).ljust(8, b"\0"))
    return beyond(b"RF64", 8 + length, size + _RIFF_SLACK_BYTES) if 0 < length < 1 << 62 else ""


def _mxf(path: Path, file: BinaryIO, size: int) -> str:
    """Source: SMPTE ST 377-1, section 7.1: a partition pack states where the footer is, or 0."""
    head = read_at(file, 16, 64)
    begin = 1 + (head[0] & 0x7F if head[:1] > b"\x80" else 0)
    (footer,) = struct.unpack(">Q", head[begin + 24 : begin + 32].ljust(8, b"\0"))
    return beyond(b"footer", footer + 1, size) if footer else ""


def _flv(path: Path, file: BinaryIO, size: int) -> str:
    """Source: Adobe Flash Video File Format Specification, annex E: tags of 11 bytes, content, and their size."""
    position, times = 13, []
    at = (head := read_at(file, 0, _LONGEST_HEADER_BYTES)).find(b"\x00\x08duration\x00")
    stated = struct.unpack_from(">d", head, at + 11)[0] if 0 <= at <= len(head) - 19 else 0.0
    while size - position >= 11:
        tag = read_at(file, position, 11)
        if tag[0] not in (8, 9, 18):
            return ""
        times.append(int.from_bytes(tag[7:8] + tag[4:7]) / 1000)
        position += 11 + int.from_bytes(tag[1:4])
        if position > size:
            return beyond(b"tag", position, size)
        position += 4
    rest = read_at(file, position, 1)  # empty too if the size of the last tag is missing
    return "it ends within the head of a tag" if rest and rest[0] in (8, 9, 18) else _shorter(times, stated)


def _ogg(path: Path, file: BinaryIO, size: int) -> str:
    """Source: RFC 3533, section 6: the last page of each logical stream says so, but that of a live recording does not.

    A packet whose last piece has 255 bytes goes on in the next page of its stream.
    """
    position = 0
    unfinished: set[bytes] = set()
    while size - position >= 27:
        head = read_at(file, position, 27 + 255)
        if head[:4] != b"OggS":
            return ""
        segments = head[27 : 27 + head[26]]
        position += 27 + head[26] + sum(segments)
        if position > size or len(segments) < head[26]:
            return beyond(b"page", position, size) or "it ends within the head of a page"
        (unfinished.add if segments[-1:] == b"\xff" else unfinished.discard)(head[14:18])
    rest = read_at(file, position, 4)
    if rest and b"OggS".startswith(rest):
        return "it ends within the head of a page"
    return "its last page is missing" if unfinished else ""


def _asf(path: Path, file: BinaryIO, size: int) -> str:
    """Source: Advanced Systems Format specification, section 3.2: the file size, unless the file was broadcast."""
    head = read_at(file, 0, _LONGEST_HEADER_BYTES)
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if not 0 <= at <= len(head) - 92:
        return ""
    is_broadcast = head[at + 88] & 1
    return "" if is_broadcast else beyond(b"ASF", struct.unpack_from("<Q", head, at + 40)[0], size)


def _ivf(path: Path, file: BinaryIO, size: int) -> str:
    """Source: https://wiki.multimedia.cx/index.php/Duck_IVF: a header, then frames, each behind its size and time."""
    position = int.from_bytes(read_at(file, 6, 2), "little")
    while size - position >= 12:
        position += 12 + int.from_bytes(read_at(file, position, 4), "little")
    return beyond(b"frame", position, size)


_CHECKS: tuple[tuple[int, bytes, Check], ...] = (
    *((4, name, _mp4) for name in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp", b"moof", b"pnot")),
    (0, bytes.fromhex("1a45dfa3"), _matroska),
    *((0, name, _riff) for name in (b"RIFF", b"RIFX", b"FORM")),
    (0, b"RF64", _rf64),
    (0, bytes.fromhex("060e2b34020501010d0102010102"), _mxf),
    (0, b"FLV\x01", _flv),
    (0, b"OggS", _ogg),
    (0, bytes.fromhex("3026b2758e66cf11"), _asf),
    (0, b"DKIF", _ivf),
    *SOUND_CHECKS,
)

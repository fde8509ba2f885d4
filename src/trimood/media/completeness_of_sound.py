"""Whether a sound file was cut short, by what its format states; `trimood.media.completeness` asks for all files."""

import math
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import av

from trimood.media.files import open_media

Check = Callable[[Path, BinaryIO, int], str]
"""Takes a file's path, the open file and its size; returns what is missing at its end, or "" if nothing is."""

UNKNOWN_32_BITS = 0x7FFF0000
"""Programs that write to a pipe state the largest number as the length."""


def beyond(name: bytes, end: int, size: int) -> str:
    """Says that a named part of the file reaches beyond its size, if it does."""
    return f"its part {name.decode('latin-1').strip()} reaches to byte {end:,} of {size:,}" if end > size else ""


def read_at(file: BinaryIO, position: int, count: int) -> bytes:
    """At most `count` bytes from a position."""
    file.seek(position)
    return file.read(count)


def _au(path: Path, file: BinaryIO, size: int) -> str:
    begin, length = struct.unpack(">2I", read_at(file, 4, 8).ljust(8, b"\0"))
    return beyond(b"of sound", begin + length, size) if length < UNKNOWN_32_BITS else ""


def _mp3(path: Path, file: BinaryIO, size: int) -> str:
    """MP3, whose first frame may state the bytes of all (Xing, Info, VBRI), and frames of AAC, each with its length."""
    position, head = 0, read_at(file, 0, 10)
    while (
        head[:3] == b"ID3" and len(head) == 10
    ):  # its size has 7 bits in each byte: https://id3.org/id3v2.4.0-structure
        position += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        head = read_at(file, position, 10)
    if len(head) < 10 or head[0] != 0xFF:
        return ""
    if head[1] & 0xF6 == 0xF0:
        return _adts(file, position, size)
    frame = read_at(file, position, 200)
    frames, stated = 0, 0
    if (at := max(frame.find(b"Xing"), frame.find(b"Info"))) >= 0:
        fields = [int.from_bytes(frame[at + 8 + 4 * number :][:4]) for number in (0, 1)]
        flags = int.from_bytes(frame[at + 4 : at + 8])
        frames = fields.pop(0) if flags & 1 else 0
        stated = fields[0] if flags & 2 else 0
    elif (at := frame.find(b"VBRI")) >= 0:
        stated = int.from_bytes(frame[at + 10 : at + 14])
    return _lacks_frames(path, frames) if frames and not stated else beyond(b"of sound", position + stated, size)


def _lacks_frames(path: Path, stated: int) -> str:
    with suppress(av.error.FFmpegError), open_media(path) as container:
        found = sum(packet.size > 0 for packet in container.demux(audio=0))
        return f"its header states {stated} frames, and it has {found}" if found < stated - 1 else ""
    return ""


def _adts(file: BinaryIO, position: int, size: int) -> str:
    """Source: ISO/IEC 13818-7, section 6.2: 13 bits of each header are the length of the frame."""
    while size - position >= 7:
        head = read_at(file, position, 7)
        if head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
            return ""
        position += max(7, (int.from_bytes(head[3:6]) >> 5) & 0x1FFF)
    return beyond(b"AAC frame", position, size)


def _flac(path: Path, file: BinaryIO, size: int) -> str:
    """Source: RFC 9639, section 8.2: the stream's rate (20 bits) and number of samples (36 bits, 0 if unknown).

    A part that was copied without encoding may keep the number of the whole: its last frame is whole.
    """
    fields = int.from_bytes(read_at(file, 18, 8))
    rate_hz, samples = fields >> 44, fields & (1 << 36) - 1
    with suppress(av.error.FFmpegError), open_media(path) as container:
        found, last = 0, b""
        for packet in container.demux(audio=0):
            if packet.size:
                found, last = found + (packet.duration or 0), bytes(packet)
        found = round(found * container.streams.audio[0].time_base * rate_hz)
        lacks = found < samples and (not last or _crc_16(last) != 0)
        return f"it states {samples:,} samples, and it has {found:,}" if lacks else ""
    return ""


def _crc_16(frame: bytes) -> int:
    """Source: RFC 9639, section 9.3: 0 for a frame with its own checksum at the end."""
    crc = 0
    for byte in frame:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x8005 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def _w64(path: Path, file: BinaryIO, size: int) -> str:
    """Source: Sony Wave64: GUIDs and 64-bit sizes that include the GUID and the size itself."""
    (length,) = struct.unpack("<Q", read_at(file, 16, 8).ljust(8, b"\0"))
    return beyond(b"riff", length, size + 8) if length < 1 << 62 else ""  # some programs round it up to 8 bytes


def _caf(path: Path, file: BinaryIO, size: int) -> str:
    """Source: Apple Core Audio Format Specification: chunks of a name and a 64-bit size, -1 for sound up to the end."""
    position = 8
    while size - position >= 12:
        name, length = struct.unpack(">4sq", read_at(file, position, 12))
        if length < 0 or not name.isalnum():
            return ""
        position += 12 + length
        if position > size:
            return beyond(name, position, size)
    return ""


def _tta(path: Path, file: BinaryIO, size: int) -> str:
    """Source: https://tausoft.org/en/true_audio_codec_format/: a header, the size of each frame, the frames."""
    rate_hz, samples = struct.unpack("<2I", read_at(file, 10, 8).ljust(8, b"\0"))
    count = math.ceil(samples / (rate_hz * 256 // 245)) if rate_hz else 0
    sizes = read_at(file, 22, 4 * count)
    if len(sizes) < 4 * count:
        return "it ends within the table of its frames"
    return beyond(b"of sound", 22 + len(sizes) + 4 + sum(struct.unpack(f"<{count}I", sizes)), size)


def _wavpack(path: Path, file: BinaryIO, size: int) -> str:
    """Source: WavPack 4 & 5 Binary File/Block Format: each block states its size and place, the first the whole."""
    position, stated, end = 0, 0, 0
    while size - position >= 32:
        name, length, _, _, _, samples, first, count = struct.unpack("<4sIHBBIII", read_at(file, position, 24))
        if name != b"wvpk":
            break  # a tag
        stated = samples if position == 0 and samples != 0xFFFFFFFF else stated
        end = max(end, first + count)
        position += 8 + length
        if position > size:
            return beyond(b"block", position, size)
    rest = read_at(file, position, 4)
    if size - position < 32 and rest and b"wvpk".startswith(rest):
        return "it ends within the head of a block"
    return f"it states {stated:,} samples, and it has {end:,}" if end < stated else ""


_AC3_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def _ac3(path: Path, file: BinaryIO, size: int) -> str:
    """Source: ATSC A/52, table 5.18: the code of rate and bit rate gives the 16-bit words of a frame."""
    position = 0
    while size - position >= 5:
        head = read_at(file, position, 5)
        rate, code = head[4] >> 6, head[4] & 0x3F
        if head[:2] != b"\x0b\x77" or rate == 3 or code >= 2 * len(_AC3_KILOBITS):
            return ""
        kilobits = _AC3_KILOBITS[code // 2]
        position += 2 * (2 * kilobits, kilobits * 96_000 // 44_100 + code % 2, 3 * kilobits)[rate]
    return beyond(b"AC-3 frame", position, size)


SOUND_CHECKS: tuple[tuple[int, bytes, Check], ...] = (
    (0, b".snd", _au),
    (0, b"fLaC", _flac),
    (0, b"riff\x2e\x91\xcf\x11", _w64),
    (0, b"caff", _caf),
    (0, b"TTA1", _tta),
    (0, b"wvpk", _wavpack),
    (0, b"\x0b\x77", _ac3),
    *(
        (0, name, _mp3)
        for name in (b"ID3", b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xf1", b"\xff\xf9")
    ),
)
"""Where a file's first bytes are those of a format, and its check."""

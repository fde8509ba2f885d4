"""Clips whose container or packets were rewritten, as phones, editors, browsers and interrupted copies leave them."""

import struct
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import av
import numpy as np

Edit = tuple[float | None, float]
"""Where a stretch of the stored clip begins and how long it is shown, in seconds; None is a pause without a picture."""

ONE = 1 << 16


def with_matrix(clip: Path, target: Path, a: int, b: int, c: int, d: int) -> Path:
    """The same MP4 whose first track is shown with (x, y) at (ax + cy, bx + dy), each of them -1, 0 or 1.

    Source: https://developer.apple.com/documentation/quicktime-file-format/track_header_atom.
    """
    content = bytearray(clip.read_bytes())
    at = content.find(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)
    target.write_bytes(content)
    return target


def moved(picture: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """A picture [height, width, 3] with each pixel (x, y) where the matrix puts it, pixel by pixel."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    columns, rows = a * x + c * y, b * x + d * y
    columns, rows = columns - columns.min(), rows - rows.min()
    shown = np.empty((rows.max() + 1, columns.max() + 1, 3), dtype=picture.dtype)
    shown[rows, columns] = picture
    return shown


def with_edits(clip: Path, target: Path, edits: Sequence[Edit]) -> Path:
    """The same MP4, its index at the end, of which each track shows the edits, as phones trim without encoding."""
    content = clip.read_bytes()
    begin = next(begin for name, begin, _ in _boxes(content, 0, len(content)) if name == b"moov")
    movie = content[begin + 8 :]
    ticks = struct.unpack(">I", movie[movie.find(b"mvhd") + 16 :][:4])[0]
    target.write_bytes(content[:begin] + _box(b"moov", _edited(movie, ticks, edits)))
    return target


def _edited(movie: bytes, ticks: int, edits: Sequence[Edit]) -> bytes:
    parts = []
    for name, begin, end in _boxes(movie, 0, len(movie)):
        inner = movie[begin + 8 : end]
        if name == b"trak":
            own_ticks = struct.unpack(">I", inner[inner.find(b"mdhd") + 16 :][:4])[0]
            first = struct.unpack(">i", inner[inner.find(b"elst") + 16 :][:4])[0]
            entries = b"".join(
                struct.pack(">IiI", round(length * ticks), -1 if at is None else first + round(at * own_ticks), ONE)
                for at, length in edits
            )
            edit_list = _box(b"edts", _box(b"elst", struct.pack(">II", 0, len(edits)) + entries))
            inner = b"".join(edit_list if box == b"edts" else inner[i:j] for box, i, j in _boxes(inner, 0, len(inner)))
        parts.append(_box(name, inner))
    return b"".join(parts)


def _boxes(content: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while position < end:
        length, name = struct.unpack_from(">I4s", content, position)
        yield name, position, position + length
        position += length


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, name) + content


def remuxed(
    clip: Path,
    target: Path,
    skipped: Collection[int] = (),
    same_time: int | None = None,
    hidden: Collection[int] = (),
) -> Path:
    """The video track, copied without encoding; without the packets of these numbers, in the order of the file.

    The packet `same_time` has the time of the one before it. Hidden frames of VP8 are only referred to by others: the
    fifth bit of their first byte is 0 (RFC 6386, section 9.1).
    """
    with av.open(str(clip)) as source, av.open(str(target), "w") as container:
        track = container.add_stream_from_template(source.streams.video[0])
        before: tuple[int | None, int | None] = (None, None)
        for number, read in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet = read
            if number == same_time:
                packet.pts, packet.dts = before
            before = packet.pts, packet.dts
            if number not in skipped:
                if number in hidden:
                    times = packet.pts, packet.dts, packet.time_base
                    packet = av.Packet(bytes([bytes(packet)[0] & ~0x10]) + bytes(packet)[1:])
                    packet.pts, packet.dts, packet.time_base = times
                packet.stream = track
                container.mux(packet)
    return target


def begun_at_second_key_frame(clip: Path, target: Path) -> Path:
    """What is left of a clip after a cut without encoding: everything from its second key frame on."""
    with av.open(str(clip)) as source:
        keys = [packet.is_keyframe for packet in source.demux(video=0) if packet.size]
    return remuxed(clip, target, skipped=range(keys.index(True, 1)))


def packed(clip: Path, target: Path) -> Path:
    """An AVI of MPEG-4 with single B-frames, packed as DivX and XviD do: two pictures in a chunk, then an empty one."""
    with av.open(str(clip)) as source, av.open(str(target), "w") as container:
        track = container.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        contents = [bytes(packet) for packet in packets]
        start = contents[0].find(
            b"\x00\x00\x01\xb6"
        )  # user data that tells decoders so stands before the first picture
        chunks = [contents[0][:start] + b"\x00\x00\x01\xb2DivX503b1393p" + contents[0][start:]]
        for first, second in zip(contents[1::2], contents[2::2], strict=False):
            chunks += [first + second[second.find(b"\x00\x00\x01\xb6") :], b"\x00\x00\x01\xb6\x50\x80\x00"]
        chunks += contents[1 + (len(contents) - 1) // 2 * 2 :]
        for number, (chunk, packet) in enumerate(zip(chunks, packets, strict=True)):
            one = av.Packet(chunk)
            one.stream, one.time_base, one.is_keyframe = track, packet.time_base, packet.is_keyframe
            one.pts = one.dts = number * (packets[1].dts - packets[0].dts)
            container.mux(one)
    return target

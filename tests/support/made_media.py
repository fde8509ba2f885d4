"""Clips and sounds made on the spot: H.264 and AAC in mp4 whose frames carry their own number."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

Sound = Literal["sine", "noise", "silent", "none"]

GRID = 4
"""The central square is a GRID x GRID board whose cells spell the frame's number in binary, white for 1."""


def make_clip(
    path: Path,
    seconds: float = 1.0,
    fps: int = 10,
    size: tuple[int, int] = (64, 64),
    audio: Sound = "sine",
    *,
    sample_rate_hz: int = 48000,
    channels: int = 1,
    tone_hz: float = 440.0,
    audio_seconds: float | None = None,
    audio_codec: str = "aac",
    seed: int = 0,
) -> Path:
    """An mp4 of `size` (width, height) with H.264 frames that carry their number, and a sound track unless "none".

    Clips that differ in `seed` alone differ in their bytes. The folders above `path` are made. Returns the path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    audio_seconds = seconds if audio_seconds is None else audio_seconds
    samples = sound(audio, audio_seconds, sample_rate_hz, channels=channels, tone_hz=tone_hz, seed=seed)
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["comment"] = f"seed {seed}"
        video = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast", "g": "12"})
        # Colour at half the resolution, as clips have it, needs even sizes.
        video.width, video.height, video.pix_fmt = *size, "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        video.thread_count = 1
        track = None
        if audio != "none":
            track = container.add_stream(audio_codec, rate=sample_rate_hz, layout=_layout(channels))
        for number in range(max(1, round(seconds * fps))):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, *size), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if track is not None:
            _encode_sound(container, track, samples, sample_rate_hz)
    return path


def turned(clip: Path, target: Path, degrees_clockwise: int) -> Path:
    """The same clip with the flag that a player turns its pictures by, as a phone held upright writes it."""
    content = bytearray(clip.read_bytes())
    matrix = (
        content.find(b"tkhd") + 44
    )  # of the first track: https://developer.apple.com/documentation/quicktime-file-format
    one = 1 << 16
    a, b = {0: (one, 0), 90: (0, one), 180: (-one, 0), 270: (0, -one)}[degrees_clockwise]
    content[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, -b, a, 0, 0, 0, 1 << 30)
    target.write_bytes(content)
    return target


def with_index_in_front(clip: Path, target: Path) -> Path:
    """The same streams with the index before the pictures, as files for the web have it."""
    with av.open(str(clip)) as source, av.open(str(target), "w", options={"movflags": "faststart"}) as container:
        tracks = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream.index]
                container.mux(packet)
    return target


def numbered_clip(path: Path, count: int, options: dict[str, str]) -> Path:
    """An H.264 clip without sound at 25 frames a second, each frame showing its number; `options` are the encoder's."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=25, options=options)
        track.width = track.height = 64
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, 64, 64), format="rgb24")
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


def cut_by_copying(clip: Path, target: Path, from_seconds: Fraction) -> Path:
    """What `ffmpeg -ss … -c copy` writes: everything from the key frame on, the lead-up at negative times."""
    with (
        av.open(str(clip)) as source,
        av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as container,
    ):
        track = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                shift = int(from_seconds / packet.time_base)
                packet.stream, packet.pts, packet.dts = track, packet.pts - shift, packet.dts - shift
                container.mux(packet)
    return target


def make_wav(path: Path, samples: np.ndarray, sample_rate_hz: int, codec: str = "pcm_s16le") -> Path:
    """A file of `samples` [channel, sample], floats within -1..1: a wav unless its name says otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=sample_rate_hz, layout=_layout(len(samples)))
        _encode_sound(container, track, samples.astype(np.float32), sample_rate_hz)
    return path


def sound(
    kind: Sound, seconds: float, sample_rate_hz: int, *, channels: int = 1, tone_hz: float = 440.0, seed: int = 0
) -> np.ndarray:
    """Samples [channel, sample] float32: a tone at half of full scale, white noise, or zeros."""
    count = round(seconds * sample_rate_hz)
    if kind == "sine":
        one = 0.5 * np.sin(2 * np.pi * tone_hz * np.arange(count) / sample_rate_hz)
    elif kind == "noise":
        one = np.random.default_rng(seed).uniform(-0.5, 0.5, count)
    else:
        one = np.zeros(count)
    return np.tile(one.astype(np.float32), (channels, 1))


def numbered_frame(number: int, width: int, height: int) -> np.ndarray:
    """A picture [height, width, 3] uint8 that carries `number` in its central square, grey around it."""
    side = min(width, height)
    cell = np.arange(side) * GRID // side
    bits = (number >> np.arange(GRID * GRID)) & 1
    board = np.where(bits.reshape(GRID, GRID)[cell][:, cell], 235, 20)
    frame = np.full((height, width, 3), 110, dtype=np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    frame[top : top + side, left : left + side] = board[..., None]
    return frame


def read_number(frame: np.ndarray) -> int:
    """The number that a square frame [3, side, side] carries."""
    side = frame.shape[-1]
    middles = (np.arange(GRID) * 2 + 1) * side // (2 * GRID)
    bits = frame.mean(axis=0)[np.ix_(middles, middles)].ravel() > 128
    return int((bits << np.arange(GRID * GRID)).sum())


def _layout(channels: int) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[channels]


def _encode_sound(
    container: av.container.OutputContainer, track: av.AudioStream, samples: np.ndarray, sample_rate_hz: int
) -> None:
    frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1), format="flt", layout=_layout(len(samples)))
    frame.sample_rate, frame.pts, frame.time_base = sample_rate_hz, 0, Fraction(1, sample_rate_hz)
    resampler = av.AudioResampler(format=track.codec_context.format, frame_size=track.codec_context.frame_size or 0)
    for piece in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(track.encode(piece))
    container.mux(track.encode(None))

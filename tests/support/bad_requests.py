"""Requests that are small to send and costly to answer, and the clips in them."""

import base64
import json
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO

import av
import numpy as np


def request(**row: str | bytes) -> bytes:
    """The body of a request with one row; content of clips is given as bytes."""
    texts = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}
    return json.dumps({"dataframe_records": [texts]}).encode()


def pictures(width: int, height: int, count: int, codec: str = "png", container: str = "mov", rate: int = 25) -> bytes:
    """`count` equal pictures of one colour."""
    file = BytesIO()
    options = {"preset": "ultrafast"} if codec == "libx264" else {}
    with av.open(file, "w", format=container) as output:
        track = output.add_stream(codec, rate=rate, options=options)
        track.width, track.height = width, height
        track.pix_fmt = {"libx264": "yuv420p", "mjpeg": "yuvj420p"}.get(codec, "rgb24")
        frame = av.VideoFrame(width, height, track.pix_fmt)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(count):
            frame.pts = number
            output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return file.getvalue()


def quiet_sound(seconds: float, rate_hz: int = 48_000, codec: str = "flac", container: str = "flac") -> bytes:
    """Sound of one constant, which lossless codecs store in almost nothing."""
    file = BytesIO()
    with av.open(file, "w", format=container) as output:
        track = output.add_stream(codec, rate=rate_hz, layout="mono")
        form, value, at_once = ("s16", 3, 4608) if codec == "flac" else ("fltp", 1e-4, 1024)
        track.format = form
        samples = np.full((1, at_once), value, dtype=np.int16 if form == "s16" else np.float32)
        for number in range(round(seconds * rate_hz / at_once)):
            frame = av.AudioFrame.from_ndarray(samples, format=form, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, number * at_once, Fraction(1, rate_hz)
            output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return file.getvalue()


SIX: dict[str, Callable[[], bytes]] = {
    "words of 5 MB": lambda: request(text="happy words " * 416_667),
    "MOV with a frame of 16000x16000": lambda: request(clip=pictures(16_000, 16_000, 1)),
    "MP4 of 20,000 frames": lambda: request(clip=pictures(64, 64, 20_000, "libx264", "mp4")),
    "FLAC of 59 minutes": lambda: request(clip=quiet_sound(59 * 60)),
    "JSON nested 100,000 deep": lambda: b"[" * 100_000 + b"]" * 100_000,
    "body of 200 MB": lambda: request(text="x" * 200_000_000),
}
"""The requests that benchmarks/bad_requests.py measures, by name."""

"""A clip of half a second, made on the spot: what an example of a request holds."""

from fractions import Fraction
from io import BytesIO

import av
import numpy as np

_SIDE, _FRAMES, _FRAMES_PER_SECOND, _SAMPLE_RATE_HZ, _TONE_HZ = 64, 8, 16, 16000, 440


def example_clip() -> bytes:
    """An MP4 of a bright bar that moves across the picture, with a tone: a few kilobytes."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=_FRAMES_PER_SECOND)
        video.width, video.height, video.pix_fmt = _SIDE, _SIDE, "yuv420p"
        audio = container.add_stream("aac", rate=_SAMPLE_RATE_HZ, layout="mono")
        for number in range(_FRAMES):
            picture = np.full((_SIDE, _SIDE, 3), 40, dtype=np.uint8)
            picture[:, number * _SIDE // _FRAMES :][:, : _SIDE // _FRAMES] = 220
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        times = np.arange(_SAMPLE_RATE_HZ * _FRAMES // _FRAMES_PER_SECOND) / _SAMPLE_RATE_HZ
        samples = (0.3 * np.sin(2 * np.pi * _TONE_HZ * times)).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = _SAMPLE_RATE_HZ, 0, Fraction(1, _SAMPLE_RATE_HZ)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return file.getvalue()

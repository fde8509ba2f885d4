"""Episodes made on the spot: each frame carries its number, and the sound of each second has a pitch of its own."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from support.made_media import numbered_frame

SIZE = (64, 64)
CLOCK = Fraction(1, 1000)


def make_episode(
    path: Path,
    seconds: float = 8.0,
    fps: int = 25,
    *,
    times_ms: Sequence[int] | None = None,
    begin_ms: int = 0,
    tracks: Sequence[str] = ("eng",),
    default_track: int | None = None,
    rate: int = 48000,
    layout: str = "stereo",
    codec: str = "libx264",
    sound_codec: str = "aac",
    size: tuple[int, int] = SIZE,
    key_every: int = 50,
    options: dict[str, str] | None = None,
    sound_from: float = 0.0,
    sound_until: float | None = None,
    **container_options: str,
) -> Path:
    """H.264 with B-frames and a key frame every `key_every` frames; the container is what the path's suffix says.

    Frame n is shown at `times_ms[n]`, or n / fps. All times of the file begin at `begin_ms`. Each audio track is a
    language; the first has `pitch_hz` of its seconds, each further one that of seconds 20 later.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    times_ms = times_ms or [round(number * 1000 / fps) for number in range(round(seconds * fps))]
    options = options or {"bf": "3", "g": str(key_every), "crf": "10", "preset": "medium"}
    with av.open(str(path), "w", options=container_options) as container:
        video = container.add_stream(codec, rate=fps, options=options)
        video.width, video.height, video.pix_fmt, video.thread_count = *size, "yuv420p", 1
        video.codec_context.time_base = CLOCK if codec == "libx264" else Fraction(1, fps)
        sounds = [container.add_stream(sound_codec, rate=rate, layout=layout) for _ in tracks]
        for track, language in zip(sounds, tracks, strict=True):
            if language:
                track.metadata["language"] = language
        for number, track in enumerate(sounds if default_track is not None else ()):
            track.disposition = av.stream.Disposition(int(number == default_track))
        packets = []
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, *size), format="rgb24")
            frame.pts, frame.time_base = time_ms + begin_ms, CLOCK
            packets += video.encode(frame)
        packets += video.encode(None)
        for number, track in enumerate(sounds):
            samples = samples_of_episode(seconds, number, rate)[: round((sound_until or seconds) * rate)]
            packets += _sound(track, samples, round(sound_from * rate), begin_ms, rate, layout)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def pitch_hz(second: int, track: int = 0) -> float:
    """The pitch of the sound in a second of a track."""
    return 300.0 + 40 * (second + 20 * track)


def heard_pitch_hz(samples: np.ndarray, rate: int) -> float:
    """The strongest pitch of samples [sample]."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), n=8 * len(samples)))
    return float(np.argmax(spectrum) * rate / (8 * len(samples)))


def samples_of_episode(seconds: float, track: int = 0, rate: int = 48000) -> np.ndarray:
    """What is heard in a track of a whole episode, [sample] float32."""
    time = np.arange(round(seconds * rate)) / rate
    pitch = np.array([pitch_hz(second, track) for second in range(int(seconds) + 1)])
    return (0.5 * np.sin(2 * np.pi * np.cumsum(pitch[time.astype(int)]) / rate)).astype(np.float32)


def _sound(
    track: av.AudioStream, samples: np.ndarray, first: int, begin_ms: int, rate: int, layout: str
) -> list[av.Packet]:
    channels = {"mono": 1, "stereo": 2, "5.1": 6, "quad": 4, "7.1": 8}[layout]
    frame = av.AudioFrame.from_ndarray(samples[first:].repeat(channels)[None], format="flt", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, first + begin_ms * rate // 1000, Fraction(1, rate)
    return [*track.encode(frame), *track.encode(None)]

"""Synthesised voices: prosody, pitch, and samples."""

from dataclasses import dataclass, fields

import numpy as np

HARMONICS = 14
SYLLABLES_PER_SECOND = 3.6
# First two formants of five vowels in hertz, after Peterson & Barney (1952), men's averages, rounded.
VOWELS_HZ = np.array([(730, 1090), (530, 1840), (270, 2290), (570, 840), (300, 870)], dtype=float)


@dataclass(frozen=True)
class Prosody:
    """The manner of speaking; each field lies between -1 and 1, and 0 is the speaker's usual manner."""

    pitch: float = 0.0  # 1: about a fifth higher
    loudness: float = 0.0  # 1: 10 dB more
    pace: float = 0.0
    tremble: float = 0.0
    breath: float = 0.0
    glide: float = 0.0  # 1: rises at the end, -1: falls


def random_prosody(rng: np.random.Generator) -> Prosody:
    """A random prosody, including ones that fit no emotion."""
    return Prosody(*rng.uniform(-1, 1, size=len(fields(Prosody))).tolist())


def random_pitch_hz(rng: np.random.Generator) -> float:
    """A random usual pitch."""
    return float(rng.uniform(95, 230))


def speak(
    prosody: Prosody, usual_pitch_hz: float, duration_seconds: float, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    """A wordless voice, [sample] float32 between -1 and 1: syllables of random vowels over a faint room noise."""
    sample_count = int(duration_seconds * sample_rate_hz)
    time = np.arange(sample_count) / sample_rate_hz
    progress = time / duration_seconds
    rate = SYLLABLES_PER_SECOND * 2 ** (0.7 * prosody.pace)
    loudness = np.abs(np.sin(np.pi * rate * time + rng.uniform(0, np.pi))) ** 1.5 * np.minimum(1, 12 * (1 - progress))
    voiced = _voice(_pitch_contour(prosody, usual_pitch_hz, time, progress, rng), time, rate, sample_rate_hz, rng)
    noise = rng.standard_normal(sample_count, dtype=np.float32)
    breath = 0.45 * (1 + prosody.breath) / 2
    sound = ((1 - breath) * voiced + 0.6 * breath * noise) * loudness
    level = 0.12 * 10 ** (prosody.loudness * 10 / 20) / max(float(np.sqrt(np.mean(sound**2))) * 2.5, 1e-6)
    room = 10 ** rng.uniform(-3.2, -2.6)
    return np.clip(sound * level + room * noise[::-1], -0.99, 0.99).astype(np.float32)


def _pitch_contour(
    prosody: Prosody, usual_pitch_hz: float, time: np.ndarray, progress: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    tremble = 0.9 * (1 + prosody.tremble) / 2
    semitones = (
        7 * prosody.pitch
        + 8 * prosody.glide * np.clip(2 * progress - 1, 0, 1)
        + tremble * np.sin(2 * np.pi * 6.5 * time + rng.uniform(0, 6))
        + 0.7 * np.sin(2 * np.pi * rng.uniform(0.6, 1.2) * time + rng.uniform(0, 6))
    )
    return usual_pitch_hz * 2 ** (semitones / 12)


def _voice(
    pitch_hz: np.ndarray, time: np.ndarray, rate: float, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    phase = (2 * np.pi * np.cumsum(pitch_hz) / sample_rate_hz).astype(np.float32)
    vowels = VOWELS_HZ[rng.integers(len(VOWELS_HZ), size=int(time[-1] * rate) + 2)]
    coarse = slice(None, None, sample_rate_hz // 100)  # formants move slowly: every 10 ms is enough
    formants = vowels[(time[coarse] * rate).astype(int)]
    sound = np.zeros_like(phase)
    double_cosine = 2 * np.cos(phase)
    before, harmonic = np.zeros_like(phase), np.sin(phase)
    for number in range(1, HARMONICS + 1):
        frequency = number * pitch_hz[coarse]
        first, second = ((frequency - formants[:, i]) / width for i, width in ((0, 160.0), (1, 240.0)))
        strength = (0.08 + 1 / (1 + first * first) + 0.6 / (1 + second * second)) / number**0.5
        sound += np.interp(time, time[coarse], strength).astype(np.float32) * harmonic
        # sin((k+1)x) = 2 cos(x) sin(kx) - sin((k-1)x): a tenth of the time of sin itself
        before, harmonic = harmonic, double_cosine * harmonic - before
    return sound / 3

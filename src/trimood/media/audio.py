"""Sound of a clip as LanguageBind's audio tower expects it: waveform, log-mel energies, three-channel image."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
import torchaudio
from torch import Tensor

from trimood.media.errors import ClipError

WINDOW_MS = 25
SHIFT_MS = 10

# torchaudio's resampling kernel has (numerator x denominator) taps of the reduced ratio of the two rates. The usual
# rates reduce well (11025 -> 16000 is 441/640); 44099 -> 16000 does not, and its kernel would take gigabytes.
LARGEST_DENOMINATOR = 640


@dataclass(frozen=True)
class AudioRecipe:
    """How finely a clip's sound is described."""

    mel_bins: int = 112
    sample_rate_hz: int = 16000


def read_waveform(path: Path, sample_rate_hz: int) -> Tensor:
    """The clip's own sound, mean of its channels, resampled: [sample] float32 within about -1..1.

    Reads mp4 and every other container and codec that FFmpeg knows, wav included.
    Raises ClipError: missing, unreadable, no audio track, too short (below one 25 ms window), silent.
    """
    if not path.is_file():
        raise ClipError(path, "missing", f"no such file in {path.parent}")
    try:
        waveform, rate_hz = _decode(path)
    except (av.error.FFmpegError, ValueError) as error:
        raise ClipError(path, "unreadable", f"its sound cannot be decoded ({error})") from error
    waveform = resample(waveform, rate_hz, sample_rate_hz)
    if len(waveform) < sample_rate_hz * WINDOW_MS // 1000:
        milliseconds = 1000 * len(waveform) / sample_rate_hz
        raise ClipError(path, "too short", f"{milliseconds:.1f} ms of sound, at least {WINDOW_MS} ms are needed")
    if not waveform.isfinite().all():
        raise ClipError(path, "unreadable", "its sound holds samples that are not finite numbers")
    if not waveform.any():
        raise ClipError(path, "silent", "every sample of its sound is zero")
    return waveform


def _decode(path: Path) -> tuple[Tensor, int]:
    """The first audio track at its own rate: [sample] float32, and that rate in Hz."""
    with av.open(str(path), metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise ClipError(path, "no audio track", "its sound is needed")
        track = container.streams.audio[0]
        track.thread_type = "NONE"
        # The rate is taken from the decoded frames: for HE-AAC the container may announce half of it.
        rates_hz: set[int] = set()
        pieces = list(_mono_pieces(_frames(container, track), rates_hz))
        if len(rates_hz) > 1:
            raise ValueError(f"the sample rate changes within the track: {sorted(rates_hz)} Hz")
        rate_hz = rates_hz.pop() if rates_hz else track.rate
    samples = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
    return torch.from_numpy(samples), rate_hz


def _frames(container: av.container.InputContainer, track: av.AudioStream) -> Iterator[av.AudioFrame]:
    for packet in container.demux(track):
        if packet.is_corrupt:
            raise ValueError("the file ends before its sound does")
        yield from packet.decode()


def _mono_pieces(frames: Iterator[av.AudioFrame], rates_hz: set[int]) -> Iterator[np.ndarray]:
    for frame in frames:
        rates_hz.add(frame.sample_rate)
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(-1, len(frame.layout.channels)).T
        yield _as_float(samples).mean(axis=0, dtype=np.float32)  # [channel, sample] -> [sample]


def _as_float(samples: np.ndarray) -> np.ndarray:
    """Whole-number samples scaled to -1..1 by the full range of their type, as torchaudio.load does."""
    if np.issubdtype(samples.dtype, np.floating):
        return samples
    half_range = 2.0 ** (8 * samples.dtype.itemsize - 1)
    offset = half_range if np.issubdtype(samples.dtype, np.unsignedinteger) else 0.0
    return (samples - offset) / half_range


def resample(waveform: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """The waveform [sample] at another rate, with torchaudio's windowed sinc as LanguageBind does.

    Ratios with a denominator above LARGEST_DENOMINATOR go to the nearest that has not: under 0.0002 % of pitch.
    """
    if from_hz == to_hz or len(waveform) == 0:
        return waveform
    ratio = Fraction(from_hz, to_hz).limit_denominator(LARGEST_DENOMINATOR)
    return torchaudio.functional.resample(waveform, orig_freq=ratio.numerator, new_freq=ratio.denominator)


def log_mel(waveform: Tensor, recipe: AudioRecipe) -> Tensor:
    """Kaldi filter-bank energies as LanguageBind was trained on, [sample] -> [time, mel] float32, one step each 10 ms.

    The caller's waveform stays as it is. Raises ValueError below one 25 ms window.
    Source: LanguageBind, languagebind/audio/processing_audio.py, `AudioTransform.get_mel`.
    """
    shortest = recipe.sample_rate_hz * WINDOW_MS // 1000
    if len(waveform) < shortest:
        raise ValueError(f"log_mel: got {len(waveform)} samples, needs {shortest} (one window of {WINDOW_MS} ms)")
    centred = waveform - waveform.mean()
    energies: Tensor = torchaudio.compliance.kaldi.fbank(
        centred[None],
        htk_compat=True,
        sample_frequency=recipe.sample_rate_hz,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=recipe.mel_bins,
        dither=0.0,
        frame_length=WINDOW_MS,
        frame_shift=SHIFT_MS,
    )
    return energies


def mel_image(
    log_mel: Tensor, target_length: int, mean: float, std: float, generator: torch.Generator | None = None
) -> Tensor:
    """Energies [time, mel] of any length as the audio tower's image, [3, mel, target_length] float32, normalised.

    Sound shorter than `target_length` is repeated; longer sound is cut into three chunks, one a channel, from its
    front, middle and back: at the first possible start of each third, or with a `generator` at a random one.
    Source: LanguageBind, `AudioTransform.waveform2melspec`, which normalises by twice the standard deviation.
    """
    total = len(log_mel)
    if total < 1:
        raise ValueError("mel_image: got no time step, needs at least one")
    if total <= target_length:
        whole = log_mel.repeat(target_length // total + 1, 1)[:target_length]
        chunks = [whole, whole, whole]
    else:
        starts = chunk_starts(total - target_length + 1, generator)
        chunks = [log_mel[start : start + target_length] for start in starts]
    image = torch.stack(chunks).transpose(1, 2)  # [3, time, mel] -> [3, mel, time]
    return ((image - mean) / (2 * std)).contiguous()


def chunk_starts(possible: int, generator: torch.Generator | None = None) -> list[int]:
    """Where the front, middle and back chunk start, out of `possible` starts 0, 1, …

    An empty third (fewer than three possible starts) gives 0, as in LanguageBind.
    """
    starts = []
    for third in np.array_split(np.arange(possible), 3):
        chosen = 0 if generator is None else int(torch.randint(max(len(third), 1), (1,), generator=generator))
        starts.append(int(third[chosen]) if len(third) else 0)
    return starts

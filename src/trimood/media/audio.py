"""Sound of a clip as LanguageBind's audio tower expects it: waveform, log-mel energies, three-channel image."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, groupby, islice, zip_longest
from pathlib import Path

import av
import numpy as np
import torch
import torchaudio
from torch import Tensor

from trimood.config.parameters import Stereo
from trimood.media.completeness import require_whole
from trimood.media.errors import ClipError, reason, require_file
from trimood.media.files import audio_track, decodable, open_media
from trimood.media.recipes import SHIFT_MS, WINDOW_MS, AudioRecipe

# torchaudio's resampling kernel has (numerator x denominator) taps, of the reduced ratio of the two rates. Usual
# ratios are small (11025 -> 16000 is 441/640); 44099 -> 16000 is not, and its kernel would take gigabytes.
LARGEST_DENOMINATOR = 640

STRETCH_SECONDS = 30
"""Longer sound is processed in stretches of this length to limit memory."""

# torchaudio's windowed sinc reaches over `lowpass_filter_width` / `rolloff` = 6 / 0.99 samples of the lower rate.
MARGIN_SAMPLES = 7

FRAMES_AT_ONCE = 16
"""Number of decoded frames whose channels are averaged together."""

UNREADABLE_PLANES = 8
"""From this many channels on, PyAV (18.1) reads more planes than a frame has, which crashes the process."""

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 4000, 1_000_000
"""Other rates only occur in broken headers; resampling them gives wrong results or exhausts the memory."""

CANCELLED_SHARE = 1e-4
"""Channels cancel each other, as those of a balanced microphone recorded as stereo, if the power of their mean is below
this share of the loudest channel's (-40 dB). Lossy codecs leave a remainder."""

LOUDEST = 2.0**32
"""Allows 32-bit integers in a file declared as floating-point, but no samples that make log-mel energies infinite."""

LONGEST_SECONDS = 3600
"""No utterance lasts an hour, but a small file can contain days of silence, which would exhaust the memory."""


def read_waveform(path: Path, sample_rate_hz: int, stereo: Stereo = "mean") -> Tensor:
    """The clip's sound as the mean of its channels, or the first, resampled: [sample] float32, about -1 to 1.

    Where the mean cancels the channels, the loudest one is taken. Reads trimood.media.files.FORMATS with all codecs of
    FFmpeg. Raises ClipError: missing, unreadable, no_audio_track, too_short (below one 25 ms window), silent.
    """
    require_file(path)
    require_whole(path)
    try:
        waveform, powers = _decode(path, sample_rate_hz, 0 if stereo == "first" else None)
        mean_power, loudest = powers[0], max(powers[1:], default=0.0)
        if stereo == "mean" and mean_power < CANCELLED_SHARE * loudest:
            waveform, _ = _decode(path, sample_rate_hz, powers[1:].index(loudest))
    except (av.error.FFmpegError, ValueError) as error:
        raise ClipError(path, "unreadable", f"its sound cannot be decoded ({reason(error)})") from error
    if len(waveform) < sample_rate_hz * WINDOW_MS // 1000:
        milliseconds = 1000 * len(waveform) / sample_rate_hz
        raise ClipError(path, "too_short", f"{milliseconds:.1f} ms of sound, at least {WINDOW_MS} ms are needed")
    if not waveform.isfinite().all() or waveform.abs().max() > LOUDEST:
        raise ClipError(path, "unreadable", "its sound has samples that are not finite, or far beyond -1 to 1")
    if not waveform.any():
        raise ClipError(path, "silent", "every sample of its sound is zero")
    return waveform


def _decode(path: Path, sample_rate_hz: int, channel: int | None = None) -> tuple[Tensor, list[float]]:
    """A channel of the audio track, or the mean of all, at the wanted rate, [sample] float32; and the powers.

    The powers are sums of squares: of the mean, then of each channel. Long sound is held in memory once.
    """
    powers: list[float] = []
    with open_media(path) as container:
        if (track := audio_track(container)) is None:
            raise ClipError(path, "no_audio_track", "its sound is needed")
        pieces = _pieces(container, decodable(track), channel, powers)
        # The rate is taken from the decoded frames: for HE-AAC, the container may state half of it.
        first = next(pieces, (sample_rate_hz, np.zeros(0, dtype=np.float32)))
        rate_hz = first[0]
        if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
            raise ValueError(f"its rate is {rate_hz} Hz; allowed: {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz")
        resampled = _resampled(_at_one_rate(chain([first], pieces), rate_hz), rate_hz, sample_rate_hz)
        return torch.cat(list(resampled)), powers


def _pieces(
    container: av.container.InputContainer, track: av.AudioStream, channel: int | None, powers: list[float]
) -> Iterator[tuple[int, np.ndarray]]:
    """The rate, and a channel or the mean of all, [sample] float32, of a few frames at a time; adds to the powers."""
    for (rate_hz, _, _), alike in groupby(
        _frames(container, track), lambda frame: (frame.sample_rate, frame.format.name, frame.layout.name)
    ):
        while some := [samples_of(frame) for frame in islice(alike, FRAMES_AT_ONCE)]:
            channels = _as_float(np.concatenate(some, axis=1))
            mean = channels.mean(axis=0, dtype=np.float32)
            found = [float(np.square(sound, dtype=np.float64).sum()) for sound in (mean, *channels)]
            powers[:] = [before + power for before, power in zip_longest(powers, found, fillvalue=0.0)]
            # A track may change from two channels to one.
            yield rate_hz, mean if channel is None else channels[min(channel, len(channels) - 1)].astype(np.float32)


def _frames(container: av.container.InputContainer, track: av.AudioStream) -> Iterator[av.AudioFrame]:
    for packet in container.demux(track):
        if packet.is_corrupt and container.format.name != "wav":  # if its length is not stated, as from a pipe
            raise ValueError("the file ends before its sound does")
        yield from packet.decode()


def samples_of(frame: av.AudioFrame) -> np.ndarray:
    """[channel, sample] in the frame's own type."""
    channels = len(frame.layout.channels)
    if frame.format.is_planar and channels >= UNREADABLE_PLANES:
        (frame,) = av.AudioResampler(format=frame.format.packed).resample(frame)
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, channels).T


def _at_one_rate(pieces: Iterator[tuple[int, np.ndarray]], rate_hz: int) -> Iterator[np.ndarray]:
    left_samples = LONGEST_SECONDS * rate_hz
    for other_hz, samples in pieces:
        left_samples -= len(samples)
        if left_samples < 0:
            raise ValueError(f"it lasts more than {LONGEST_SECONDS} s, the maximum")
        if other_hz != rate_hz:
            raise ValueError(f"the sample rate changes within the track: {sorted({rate_hz, other_hz})} Hz")
        yield samples


def _as_float(samples: np.ndarray) -> np.ndarray:
    """Integer samples scaled to -1..1 by the full range of their type, as in torchaudio.load."""
    if np.issubdtype(samples.dtype, np.floating):
        return samples
    half_range = 2.0 ** (8 * samples.dtype.itemsize - 1)
    offset = half_range if np.issubdtype(samples.dtype, np.unsignedinteger) else 0.0
    return (samples - offset) / half_range


def resample(waveform: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """The waveform [sample] at another rate, with torchaudio's windowed sinc as LanguageBind does.

    Ratios with a larger denominator than LARGEST_DENOMINATOR are rounded: under 0.0002 % of pitch.
    """
    if from_hz == to_hz or len(waveform) == 0:
        return waveform
    ratio = Fraction(from_hz, to_hz).limit_denominator(LARGEST_DENOMINATOR)
    return torchaudio.functional.resample(waveform, orig_freq=ratio.numerator, new_freq=ratio.denominator)


def _resampled(pieces: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[Tensor]:
    """The sound of all pieces at another rate, in stretches of STRETCH_SECONDS.

    Each stretch is resampled with a margin on both sides wider than the kernel, so that no seam is audible.
    """
    ratio = Fraction(from_hz, to_hz).limit_denominator(LARGEST_DENOMINATOR)
    source, target = ratio.numerator, ratio.denominator  # `source` samples become `target`
    margin = source * (2 + MARGIN_SAMPLES // min(source, target))
    stretch = source * (STRETCH_SECONDS * from_hz // source) + margin
    held, held_count, before = [], 0, 0  # `before`: leading samples that have been resampled already
    for piece in pieces:
        held.append(torch.from_numpy(piece))
        held_count += len(piece)
        if held_count > before + stretch + margin:
            whole = torch.cat(held)
            part = resample(whole[: before + stretch + margin], from_hz, to_hz)
            yield part[before * target // source : (before + stretch) * target // source].clone()
            held, before = [whole[before + stretch - margin :].clone()], margin
            held_count = len(held[0])
    yield resample(torch.cat(held), from_hz, to_hz)[before * target // source :]


def log_mel(waveform: Tensor, recipe: AudioRecipe) -> Tensor:
    """Kaldi filter-bank energies as LanguageBind was trained on, [sample] -> [time, mel] float32, one step each 10 ms.

    Does not change the caller's waveform. Raises ValueError below one 25 ms window.
    Source: LanguageBind, languagebind/audio/processing_audio.py, `AudioTransform.get_mel`.
    """
    shortest = recipe.sample_rate_hz * WINDOW_MS // 1000
    if len(waveform) < shortest:
        raise ValueError(f"log_mel: got {len(waveform)} samples, needs {shortest} (one window of {WINDOW_MS} ms)")
    mean = waveform.mean()
    window, shift = shortest, recipe.sample_rate_hz * SHIFT_MS // 1000
    at_once = STRETCH_SECONDS * 1000 // SHIFT_MS  # windows; each is computed independently
    windows = 1 + (len(waveform) - window) // shift
    return torch.cat(
        [
            _energies(waveform[first * shift : (min(first + at_once, windows) - 1) * shift + window] - mean, recipe)
            for first in range(0, windows, at_once)
        ]
    )


def _energies(centred: Tensor, recipe: AudioRecipe) -> Tensor:
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

    Shorter sound than `target_length` is repeated. Longer sound is cut into three chunks, one per channel, from its
    front, middle and back: at the first possible start in each third, or with a `generator` at a random one.
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

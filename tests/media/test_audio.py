from pathlib import Path

import numpy as np
import pytest
import torch

from support.made_episodes import make_episode, pitch_hz
from support.made_media import make_clip, make_wav, sound, with_index_in_front
from support.shared_data import SHARED, needs_shared
from support.upstream_inputs import AUDIO, LENGTHS, STRIDE, log_mel_input, waveform_input
from trimood.media.audio import chunk_starts, log_mel, mel_image, read_waveform, resample
from trimood.media.errors import ClipError, in_words
from trimood.media.probe import probe_clip
from trimood.media.recipes import AudioRecipe

TARGET, MEAN, STD = AUDIO["target_length"], AUDIO["audio_mean"], AUDIO["audio_std"]
REFERENCE = np.load(Path(__file__).with_name("upstream_reference.npz"))


def strongest_hz(waveform: torch.Tensor, sample_rate_hz: int) -> float:
    return int(torch.fft.rfft(waveform).abs().argmax()) * sample_rate_hz / len(waveform)


@pytest.mark.slow
@pytest.mark.parametrize("sample_rate_hz", [48000, 44100, 22050, 8000])
@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_the_sound_of_a_clip_keeps_its_pitch_length_and_loudness(
    tmp_path: Path, sample_rate_hz: int, channels: int
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=2, sample_rate_hz=sample_rate_hz, channels=channels, tone_hz=1000)
    waveform = read_waveform(clip, 16000)
    assert waveform.dtype == torch.float32
    # AAC packs whole frames of 1024 samples, one of them ahead of the sound.
    assert 32000 <= len(waveform) <= 32000 + 2 * 1024 * 16000 / sample_rate_hz
    assert strongest_hz(waveform, 16000) == pytest.approx(1000, abs=1)
    if channels < 6:  # the sixth channel of 5.1 holds low tones only
        assert waveform[1600:30400].square().mean().sqrt() == pytest.approx(0.5 / 2**0.5, rel=0.03)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_every_kind_of_sample_comes_to_the_same_scale(tmp_path: Path, codec: str) -> None:
    samples = sound("sine", 0.5, 16000, channels=2)
    waveform = read_waveform(make_wav(tmp_path / "sound.wav", samples, 16000, codec), 16000)
    assert len(waveform) == 8000
    assert np.abs(waveform.numpy() - samples[0]).max() < (0.01 if codec == "pcm_u8" else 1e-4)


def test_stereo_becomes_the_mean_of_its_channels(tmp_path: Path) -> None:
    samples = np.stack([np.full(8000, 0.5), np.full(8000, -0.25)])
    waveform = read_waveform(make_wav(tmp_path / "sound.wav", samples, 16000), 16000)
    assert waveform.numpy() == pytest.approx(0.125, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("other", [0.5, -1.0, 0.0])
def test_the_first_channel_is_heard_as_if_it_were_alone(tmp_path: Path, other: float) -> None:
    voice, noise = sound("sine", 1, 44100)[0], sound("noise", 1, 44100)[0]
    alone = read_waveform(make_wav(tmp_path / "alone.wav", voice[None], 44100), 16000)
    for number, channels in enumerate(([voice, other * voice], [voice, noise], [voice, noise, *4 * [other * voice]])):
        path = make_wav(tmp_path / f"{number}.wav", np.stack(channels), 44100)
        assert torch.equal(read_waveform(path, 16000, "first"), alone)
        assert not torch.equal(read_waveform(path, 16000, "mean"), alone) or other == -1.0
    silent = make_wav(tmp_path / "silent.wav", np.stack([0 * voice, voice]), 44100)
    with pytest.raises(ClipError, match="every sample of its sound is zero"):
        read_waveform(silent, 16000, "first")


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac", "libmp3lame"])
@pytest.mark.parametrize("channels", [2, 6])
def test_of_channels_that_cancel_each_other_the_loudest_is_heard(tmp_path: Path, codec: str, channels: int) -> None:
    if codec == "libmp3lame" and channels == 6:
        pytest.skip("MP3 has two channels at most")
    tone = sound("sine", 2, 48000)[0]
    samples = np.stack([tone * sign for sign in ([0.5, -0.5] if channels == 2 else [0.25, 0.25, -0.5, 0, 0, 0])])
    loudest = 0.5 if channels == 2 else -0.5
    path = tmp_path / ("sound.wav" if codec == "pcm_s16le" else "sound.mka")
    waveform = read_waveform(make_wav(path, samples, 48000, codec), 16000)
    assert strongest_hz(waveform, 16000) == pytest.approx(440, abs=1)
    assert waveform[3200:28800].square().mean().sqrt() == pytest.approx(0.5 * abs(loudest) / 2**0.5, rel=0.05)
    facts = probe_clip((path, "pyav", "mean"))[0]
    assert facts.audio_problem is None
    assert facts.peak_dbfs is not None
    assert facts.peak_dbfs > -20


def test_quiet_channels_that_do_not_cancel_stay_their_mean(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 16000)).astype(np.float32)
    noise[1] = -0.9 * noise[0]  # almost, but -26 dB are left
    waveform = read_waveform(make_wav(tmp_path / "sound.wav", noise, 16000, "pcm_f32le"), 16000)
    assert waveform.numpy() == pytest.approx(noise.mean(axis=0), abs=1e-6)


def test_the_default_audio_track_is_heard(tmp_path: Path) -> None:
    clip = make_episode(tmp_path / "clip.mkv", 2, tracks=("eng", "ger"), default_track=1)
    assert strongest_hz(read_waveform(clip, 16000)[1600:14400], 16000) == pytest.approx(pitch_hz(0, 1), abs=2)


@pytest.mark.parametrize("rate_hz", [24400, 44099])
def test_an_odd_rate_is_resampled_within_bounds(rate_hz: int) -> None:
    tone = torch.from_numpy(sound("sine", 2, rate_hz, tone_hz=3000)[0])
    waveform = resample(tone, rate_hz, 16000)
    assert len(waveform) == pytest.approx(32000, abs=1)
    assert strongest_hz(waveform, 16000) == pytest.approx(3000, abs=0.5)


def assert_same_energies(found: np.ndarray, wanted: np.ndarray) -> None:
    """To 2e-4, except where an amplitude differs by less than a float32 rounding of the loudest one in its time step.

    MKL's FFT rounds differently on different processors; the logarithm magnifies that in bins that are 100 dB down.
    """
    rounding = np.finfo(np.float32).eps * np.exp(wanted.max(axis=1, keepdims=True) / 2)
    is_rounding = np.abs(np.exp(found / 2) - np.exp(wanted / 2)) <= rounding
    np.testing.assert_allclose(np.where(is_rounding, wanted, found), wanted, atol=2e-4)


@pytest.mark.parametrize("rate_hz", [16000, 24400, 44100, 48000])
def test_log_mel_is_upstreams(rate_hz: int) -> None:
    energies = log_mel(resample(torch.from_numpy(waveform_input(rate_hz)), rate_hz, 16000), AudioRecipe())
    assert_same_energies(energies.numpy(), REFERENCE[f"log_mel_{rate_hz}"])


@needs_shared
@pytest.mark.parametrize("mel_bins", [112, 126])
def test_log_mel_of_real_recordings_is_the_golden_array(mel_bins: int) -> None:
    assert SHARED is not None
    golden = np.load(SHARED / "reference/languagebind/fbank_torchaudio_2.11_reference.npz")
    for number in (0, 1):
        waveform = read_waveform(SHARED / f"media/languagebind_assets/audio/{number}.wav", 16000)
        energies = log_mel(waveform, AudioRecipe(mel_bins=mel_bins))
        assert_same_energies(energies.numpy(), golden[f"a{number}_b{mel_bins}"])


def test_log_mel_leaves_the_callers_waveform_alone() -> None:
    waveform = torch.from_numpy(waveform_input(16000))
    before = waveform.clone()
    log_mel(waveform, AudioRecipe())
    assert torch.equal(waveform, before)
    assert before.mean().abs() > 0.05, "a waveform without an offset would prove nothing"


def test_log_mel_names_the_shortest_sound_it_takes() -> None:
    assert log_mel(torch.randn(400), AudioRecipe()).shape == (1, 112)
    with pytest.raises(ValueError, match="got 399 samples, needs 400"):
        log_mel(torch.randn(399), AudioRecipe())


@pytest.mark.parametrize("length", LENGTHS)
def test_the_image_of_any_length_is_upstreams(length: int) -> None:
    image = mel_image(torch.from_numpy(log_mel_input(length)), TARGET, MEAN, STD)
    assert image.shape == (3, 112, 1036)
    np.testing.assert_allclose(image[:, :: STRIDE * 4, ::STRIDE].numpy(), REFERENCE[f"image_{length}"], atol=1e-6)


def test_without_a_generator_the_chunks_start_at_each_third() -> None:
    assert chunk_starts(1) == [0, 0, 0]
    assert chunk_starts(2) == [0, 1, 0]
    assert chunk_starts(3) == [0, 1, 2]
    assert chunk_starts(100) == [0, 34, 67]


def test_with_a_generator_each_chunk_stays_in_its_third_and_a_seed_repeats_it() -> None:
    draws = [chunk_starts(100, torch.Generator().manual_seed(seed)) for seed in range(300)]
    assert {min(column) for column in zip(*draws, strict=True)} == {0, 34, 67}
    assert {max(column) for column in zip(*draws, strict=True)} == {33, 66, 99}
    assert draws[7] == chunk_starts(100, torch.Generator().manual_seed(7))
    long = torch.from_numpy(log_mel_input(3000))
    images = [mel_image(long, TARGET, MEAN, STD, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_short_sound_is_the_same_with_and_without_a_generator() -> None:
    short = torch.from_numpy(log_mel_input(300))
    plain, seeded = mel_image(short, TARGET, MEAN, STD), mel_image(short, TARGET, MEAN, STD, torch.Generator())
    assert torch.equal(plain, seeded)


@pytest.mark.parametrize(
    ("made", "problem", "words"),
    [
        ({"audio": "none"}, "no_audio_track", "its sound is needed"),
        ({"audio": "silent"}, "silent", "every sample"),
        ({"audio_seconds": 0.005}, "too_short", "at least 25 ms are needed"),
    ],
)
def test_sound_that_cannot_be_used_is_named(tmp_path: Path, made: dict, problem: str, words: str) -> None:
    clip = make_clip(tmp_path / "dia1utt1.mp4", **made)
    with pytest.raises(ClipError, match=rf"^dia1utt1\.mp4: {in_words(problem)}: .*{words}") as caught:
        read_waveform(clip, 16000)
    assert caught.value.problem == problem


def test_missing_and_unreadable_sound_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"^none\.mp4: missing"):
        read_waveform(tmp_path / "none.mp4", 16000)
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 100)
    with pytest.raises(ClipError, match=r"^page\.mp4: unreadable: its sound cannot be decoded"):
        read_waveform(tmp_path / "page.mp4", 16000)
    samples = np.full((1, 8000), np.nan)
    with pytest.raises(ClipError, match=r"^nan\.wav: unreadable: .*not finite"):
        read_waveform(make_wav(tmp_path / "nan.wav", samples, 16000, "pcm_f32le"), 16000)


def test_hours_of_silence_in_a_small_file_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_wav(tmp_path / "long.wav", sound("sine", 3.0, 16000), 16000)
    monkeypatch.setattr("trimood.media.audio.LONGEST_SECONDS", 2)
    with pytest.raises(ClipError, match=r"long.wav: unreadable: .* lasts more than 2 s, the maximum"):
        read_waveform(clip, 16000)
    monkeypatch.setattr("trimood.media.audio.LONGEST_SECONDS", 4)
    assert len(read_waveform(clip, 16000)) == 48000


def test_damaged_sound_is_unreadable(tmp_path: Path) -> None:
    content = bytearray(make_clip(tmp_path / "whole.mp4", seconds=1).read_bytes())
    start, end = content.find(b"mdat") + 4, content.find(b"moov") - 4
    content[start + (end - start) * 3 // 4 : end] = bytes(end - start - (end - start) * 3 // 4)
    (tmp_path / "damaged.mp4").write_bytes(content)
    with pytest.raises(ClipError, match=r"^damaged\.mp4: unreadable: its sound cannot be decoded"):
        read_waveform(tmp_path / "damaged.mp4", 16000)


def test_sound_cut_short_in_transfer_is_unreadable(tmp_path: Path) -> None:
    whole = with_index_in_front(make_clip(tmp_path / "whole.mp4"), tmp_path / "front.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: int(0.99 * len(whole))])
    with pytest.raises(ClipError, match=r"^cut\.mp4: unreadable: the file was cut short: 1 of its"):
        read_waveform(tmp_path / "cut.mp4", 16000)

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from decord import VideoReader
from torch.nn import functional

from support.made_media import cut_by_copying, make_clip, numbered_clip, read_number, with_index_in_front
from support.shared_data import SHARED, needs_shared
from support.upstream_inputs import SIZES, STRIDE, pixels_input
from trimood.media import video
from trimood.media.errors import ClipError
from trimood.media.recipes import VideoRecipe
from trimood.media.video import fit_frame, frame_indices, read_frames

SMALL = VideoRecipe(frame_count=8, frame_size_pixels=56)
REFERENCE = np.load(Path(__file__).with_name("upstream_reference.npz"))


def upstream_pixels(decoded: np.ndarray, size_pixels: int) -> torch.Tensor:
    """LanguageBind's own order of steps, said anew: normalise, scale, crop; then the normalisation undone."""
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None, None]
    pixels = (torch.from_numpy(decoded).permute(3, 0, 1, 2) / 255 - mean) / std  # [3, frame, height, width]
    height, width = pixels.shape[-2:]
    size = (int(height / width * size_pixels), size_pixels) if width < height else None
    size = size or (size_pixels, int(width / height * size_pixels))
    pixels = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    top, left = round((size[0] - size_pixels) / 2.0), round((size[1] - size_pixels) / 2.0)
    pixels = pixels[..., top : top + size_pixels, left : left + size_pixels]
    return ((pixels * std + mean) * 255).transpose(0, 1)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_of_any_shape_is_fitted_as_upstream_does(width: int, height: int) -> None:
    fitted = fit_frame(torch.from_numpy(pixels_input(width, height)), 224)
    assert fitted.shape == (3, 224, 224)
    assert fitted.dtype == torch.uint8
    difference = fitted[:, ::STRIDE, ::STRIDE].numpy() - REFERENCE[f"video_{width}x{height}"]
    # Half a step is what rounding to uint8 costs; upstream computes in float32 around the normalisation.
    assert np.abs(difference).max() <= 0.5 + 1e-3


def test_the_reference_tells_the_rounding_of_crop_and_scale_apart() -> None:
    # 640 x 361 is scaled to 397.12 and cropped by 86.5 pixels: both roundings show.
    other = torch.from_numpy(np.roll(pixels_input(640, 361), 1, axis=1))
    difference = fit_frame(other, 224)[:, ::STRIDE, ::STRIDE].numpy() - REFERENCE["video_640x361"]
    assert np.abs(difference).max() > 10


@pytest.mark.slow
@needs_shared
def test_real_clips_give_upstreams_pixels() -> None:
    assert SHARED is not None
    clips = sorted((SHARED / "media/ravdess_ecf/train").glob("*.mp4"))[::5]
    clips += sorted((SHARED / "media/languagebind_assets/video").glob("*.mp4"))
    assert len(clips) > 10
    for clip in clips:
        reader = VideoReader(str(clip), num_threads=1)
        decoded = reader.get_batch(np.linspace(0, len(reader) - 1, 8, dtype=int)).asnumpy()
        difference = read_frames(clip, VideoRecipe()).float() - upstream_pixels(decoded, 224)
        assert difference.abs().max() <= 0.5 + 1e-3, clip.name


def test_frames_are_spread_from_the_first_to_the_last(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=4, fps=25)
    frames = read_frames(clip, SMALL)
    assert frames.shape == (8, 3, 56, 56)
    assert frames.dtype == torch.uint8
    assert [read_number(frame.numpy()) for frame in frames] == [0, 14, 28, 42, 56, 70, 84, 99]


@pytest.mark.parametrize("size", [(128, 64), (64, 128), (322, 182)])
def test_the_centre_of_a_wide_or_tall_clip_is_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = read_frames(make_clip(tmp_path / "clip.mp4", seconds=1, size=size), SMALL)
    assert [read_number(frame.numpy()) for frame in frames] == frame_indices(10, 8)


def test_a_clip_of_fewer_frames_than_wanted_repeats_them(tmp_path: Path) -> None:
    frames = read_frames(make_clip(tmp_path / "clip.mp4", seconds=0.3, fps=10), SMALL)
    assert [read_number(frame.numpy()) for frame in frames] == [0, 0, 0, 0, 1, 1, 1, 2]


def test_indices_are_cut_off_and_not_rounded() -> None:
    assert frame_indices(20, 8) == [0, 2, 5, 8, 10, 13, 16, 19]
    assert frame_indices(1, 3) == [0, 0, 0]
    with pytest.raises(ValueError, match="no frame"):
        frame_indices(0, 8)


def test_red_stays_red(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "red.mp4"), "w") as container:
        track = container.add_stream("libx264", rate=10)
        track.width = track.height = 64
        red = np.zeros((64, 64, 3), dtype=np.uint8)
        red[..., 0] = 200
        container.mux([*track.encode(av.VideoFrame.from_ndarray(red, format="rgb24")), *track.encode(None)])
    channels = read_frames(tmp_path / "red.mp4", SMALL).float().mean(dim=(0, 2, 3))
    assert channels[0] > 180
    assert channels[1:].max() < 20


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"^dia1utt1\.mp4: missing: no such file in ") as caught:
        read_frames(tmp_path / "dia1utt1.mp4", SMALL)
    assert caught.value.problem == "missing"


@pytest.mark.parametrize("kept", [0, 0.3, 0.9, 0.95])
def test_a_clip_cut_short_in_transfer_is_unreadable(tmp_path: Path, kept: float) -> None:
    whole = with_index_in_front(make_clip(tmp_path / "whole.mp4", audio="none"), tmp_path / "front.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ClipError, match=r"^cut\.mp4: unreadable: ") as caught:
        read_frames(tmp_path / "cut.mp4", SMALL)
    assert caught.value.problem == "unreadable"


def test_a_clip_with_damaged_pictures_is_unreadable(tmp_path: Path) -> None:
    content = bytearray(make_clip(tmp_path / "whole.mp4", audio="none").read_bytes())
    start = content.find(b"mdat") + 8
    content[start + 1000 : start + 2000] = bytes(1000)
    (tmp_path / "damaged.mp4").write_bytes(content)
    with pytest.raises(ClipError, match=r"^damaged\.mp4: unreadable: its frames cannot be decoded"):
        read_frames(tmp_path / "damaged.mp4", SMALL)


def test_something_else_under_the_name_of_a_clip_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 100)
    with pytest.raises(ClipError, match=r"^page\.mp4: unreadable"):
        read_frames(tmp_path / "page.mp4", SMALL)


def test_sound_without_pictures_is_unreadable(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        track = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux([*track.encode(frame), *track.encode(None)])
    with pytest.raises(ClipError, match=r"^sound\.mp4: unreadable: it has no video track"):
        read_frames(tmp_path / "sound.mp4", SMALL)


def test_a_clip_cut_without_encoding_shows_what_a_player_shows(tmp_path: Path) -> None:
    whole = numbered_clip(tmp_path / "whole.mp4", 100, {"g": "50"})
    clip = cut_by_copying(whole, tmp_path / "cut.mp4", from_seconds=Fraction(30, 25))
    assert numbers_in(clip) == [30 + index for index in frame_indices(70, 8)]
    upstream = VideoReader(str(clip), num_threads=1).get_batch(frame_indices(100, 8)).asnumpy()
    numbers = [read_number(frame.transpose(2, 0, 1)) for frame in upstream]
    assert numbers != sorted(numbers), "decord has learnt to read such clips: say so where frames are read"


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 54), (50, 90)])
def test_frames_equal_upstreams_reader_to_the_bit(width: int, height: int, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size=(width, height))
    reader = VideoReader(str(clip), num_threads=1)
    decoded = reader.get_batch(frame_indices(len(reader), 8)).asnumpy()
    assert torch.equal(read_frames(clip, SMALL), torch.stack([fit_frame(torch.from_numpy(x), 56) for x in decoded]))


@pytest.mark.parametrize(
    "options",
    [
        {"g": "12"},
        {"g": "12", "bf": "3", "x264-params": "b-pyramid=strict:open-gop=1:scenecut=0"},
        {"g": "250", "bf": "0"},
        {"g": "1"},
    ],
)
@pytest.mark.parametrize("count", [1, 7, 8, 9, 150])
def test_the_frames_asked_for_come_whatever_refers_to_them(count: int, options: dict[str, str], tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", count, options)
    assert numbers_in(clip) == frame_indices(count, 8)
    with av.open(str(clip)) as container:
        everything = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    expected = [fit_frame(torch.from_numpy(everything[index]), 56) for index in frame_indices(count, 8)]
    assert torch.equal(read_frames(clip, SMALL), torch.stack(expected))


def test_a_clip_of_minutes_is_not_decoded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", 250, {"g": "10", "bf": "0"})
    given: list[int] = []
    decode = video._needed

    def counted(packets: Sequence[video._Packet], wanted: set[int]) -> list[bool]:
        needed = decode(packets, wanted)
        given.append(sum(needed))
        return needed

    monkeypatch.setattr(video, "_needed", counted)
    read_frames(clip, SMALL)
    assert 8 <= given[0] <= 8 * 10


def numbers_in(clip: Path) -> list[int]:
    return [read_number(frame.numpy()) for frame in read_frames(clip, VideoRecipe(8, 64))]

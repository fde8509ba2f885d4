import errno
import json
import os
from pathlib import Path

import av
import pytest
import torch
from safetensors.torch import save_file

from support.made_media import make_clip
from trimood.disk import DiskFull
from trimood.media.contents import content_name
from trimood.media.errors import ClipError, PartError
from trimood.media.parts import load_arrays, load_part, problems_in, write_part, write_whole
from trimood.media.recipes import AudioRecipe, Recipe, VideoRecipe, part_bytes, recipe_name

RECIPE = Recipe(VideoRecipe(frame_count=2, frame_size_pixels=16), AudioRecipe(mel_bins=16))


def test_the_name_of_a_recipe_is_pinned() -> None:
    # A change here throws away every user's prepared clips: it must be meant.
    assert recipe_name(Recipe()) == "2433d053b9fc8be1"
    assert recipe_name(Recipe(VideoRecipe(reader="decord"))) == "37bdcca6e3686a9a"
    assert recipe_name(Recipe(audio=AudioRecipe(stereo="first"))) == "d546dba698eff43b"


def test_content_names_tell_one_changed_bit_and_ignore_the_file_name(tmp_path: Path) -> None:
    for name, content in (("a", b"clip"), ("b", b"clip"), ("c", b"clip\0")):
        (tmp_path / name).write_bytes(content)
    names = [content_name(tmp_path / name) for name in "abc"]
    assert names[0] == names[1] != names[2]
    assert [len(name) for name in names] == [40, 40, 40]


def test_the_size_that_is_reckoned_with_covers_a_usual_part(tmp_path: Path) -> None:
    write_part(make_clip(tmp_path / "clip.mp4", seconds=3), tmp_path / "part.safetensors", Recipe())
    size = (tmp_path / "part.safetensors").stat().st_size
    assert size <= part_bytes(Recipe()) <= 2 * size


def test_only_a_whole_part_is_taken_for_one(tmp_path: Path) -> None:
    part, clip = tmp_path / "part.safetensors", tmp_path / "clip.mp4"
    assert problems_in(part, clip) is None
    assert write_part(make_clip(clip), part, RECIPE) == {}
    assert problems_in(part, clip) == {}
    content = part.read_bytes()
    for end in (0, 7, 8, 50, len(content) // 2, len(content) - 1):
        part.write_bytes(content[:end])
        assert problems_in(part, clip) is None, end
        with pytest.raises(PartError, match=r"part\.safetensors: not a complete part.*Prepare the clips again"):
            load_part(part)
    part.write_bytes(content + b"\0")
    assert problems_in(part, clip) is None
    frames, log_mel = torch.zeros(3, dtype=torch.uint8), torch.zeros(3)
    noted = {"problems": json.dumps({"audio": ["silent", "every sample"]})}
    for tensors, metadata, is_whole in (
        ({"frames": frames, "log_mel": log_mel}, None, True),
        ({"frames": frames}, noted, True),
        ({"frames": frames}, None, False),  # neither sound nor a reason why there is none
        ({"frames": frames, "log_mel": log_mel}, noted, False),
        ({"frames": torch.ones(3), "log_mel": log_mel}, None, False),
        ({}, None, False),
        ({"frames": frames}, {"problems": json.dumps({"audio": ["silent"]})}, False),
        ({"frames": frames}, {"problems": "not JSON"}, False),
    ):
        save_file(tensors, part, metadata)
        assert (problems_in(part, clip) is not None) == is_whole, (list(tensors), metadata)
    part.write_bytes(b"\xff" * 1000)
    assert problems_in(part, clip) is None


def test_a_part_notes_what_its_clip_lacks(tmp_path: Path) -> None:
    part = tmp_path / "part.safetensors"
    write_part(make_clip(tmp_path / "mute.mp4", audio="none"), part, RECIPE)
    assert set(load_part(part)) == {"frames"}
    noted = problems_in(part, tmp_path / "another.mp4")
    assert noted is not None
    assert {m: e.message for m, e in noted.items()} == {"audio": "another.mp4: no audio track: its sound is needed"}
    (tmp_path / "text.mp4").write_text("no clip at all" * 100)
    write_part(tmp_path / "text.mp4", part, RECIPE)
    assert load_part(part) == {}
    noted = problems_in(part, tmp_path / "another.mp4")
    assert noted is not None
    assert {modality: error.problem for modality, error in noted.items()} == {
        "video": "unreadable",
        "audio": "unreadable",
    }
    assert str(tmp_path).encode() not in part.read_bytes()  # clips of the same bytes lie elsewhere


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EIO, errno.ESTALE])
def test_a_problem_of_the_machine_is_not_noted_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    clip = make_clip(tmp_path / "clip.mp4")

    def fails(*_: object, **__: object) -> None:
        raise av.error.FFmpegError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("av.open", fails)
        with pytest.raises(ClipError, match=r"clip\.mp4: unreadable"):
            write_part(clip, tmp_path / "part", RECIPE)
    assert not (tmp_path / "part").exists()
    with pytest.raises(ClipError, match=r"none\.mp4: missing"):
        write_part(tmp_path / "none.mp4", tmp_path / "part", RECIPE)
    assert not (tmp_path / "part").exists()


def test_a_picture_that_may_be_readable_next_time_costs_no_sound_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, part = make_clip(tmp_path / "clip.mp4"), tmp_path / "part.safetensors"

    def fails(path: Path, _: object) -> None:
        raise ClipError(path, "unreadable", "no memory") from MemoryError()

    with monkeypatch.context() as patched:
        patched.setattr("trimood.media.video.read_frames", fails)
        assert {modality: error.problem for modality, error in write_part(clip, part, RECIPE).items()} == {
            "video": "unreadable"
        }
        first = load_part(part)
        assert set(first) == {"log_mel"}
        assert problems_in(part, clip) is None, "it would never be tried again"
        patched.setattr("trimood.media.audio.read_waveform", fails)
        assert set(write_part(clip, part, RECIPE)) == {"video"}, "the sound was there already"
        assert torch.equal(load_part(part)["log_mel"], first["log_mel"])
    with monkeypatch.context() as patched:
        patched.setattr("trimood.media.audio.read_waveform", fails)
        assert write_part(clip, part, RECIPE) == {}
    assert problems_in(part, clip) == {}
    write_part(clip, tmp_path / "at once", RECIPE)
    assert part.read_bytes() == (tmp_path / "at once").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "part.safetensors"
    write_whole(path, b"old")

    def no_space(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(DiskFull, match="Make room there"):
        write_whole(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["part.safetensors"]
    assert path.read_bytes() == b"old"


def test_arrays_are_the_tensors_and_an_incomplete_part_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    save_file({"frames": torch.arange(24, dtype=torch.uint8).reshape(1, 3, 4, 2), "log_mel": torch.rand(5, 4)}, path)
    arrays, tensors = load_arrays(path), load_part(path)
    assert set(arrays) == {"frames", "log_mel"}
    assert all((arrays[name] == tensors[name].numpy()).all() for name in arrays)
    path.write_bytes(path.read_bytes()[:-1])
    for load in (load_arrays, load_part):
        with pytest.raises(PartError, match=r"part\.safetensors: not a complete part"):
            load(path)

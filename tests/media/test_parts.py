import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from made_media import make_clip
from trimood.media.audio import AudioRecipe
from trimood.media.errors import DiskFull, PartError
from trimood.media.parts import (
    Recipe,
    content_name,
    is_whole,
    load_part,
    part_bytes,
    recipe_name,
    write_part,
    write_whole,
)
from trimood.media.video import VideoRecipe

RECIPE = Recipe(VideoRecipe(frame_count=2, frame_size_pixels=16), AudioRecipe(mel_bins=16))


def test_the_name_of_a_recipe_is_pinned() -> None:
    # A change here throws away every user's prepared clips: it must be meant.
    assert recipe_name(Recipe()) == "f4628612c9dd1336"


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


def test_only_a_whole_part_of_both_tensors_is_whole(tmp_path: Path) -> None:
    part = tmp_path / "part.safetensors"
    assert not is_whole(part)
    write_part(make_clip(tmp_path / "clip.mp4"), part, RECIPE)
    assert is_whole(part)
    content = part.read_bytes()
    for end in (0, 7, 8, 50, len(content) // 2, len(content) - 1):
        part.write_bytes(content[:end])
        assert not is_whole(part), end
        with pytest.raises(PartError, match=r"part\.safetensors: not a whole part.*Prepare the clips again"):
            load_part(part)
    part.write_bytes(content + b"\0")
    assert not is_whole(part)
    save_file({"frames": torch.zeros(3, dtype=torch.uint8)}, part)
    assert not is_whole(part)
    save_file({"frames": torch.zeros(3), "log_mel": torch.zeros(3)}, part)
    assert not is_whole(part)
    part.write_bytes(b"\xff" * 1000)
    assert not is_whole(part)


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

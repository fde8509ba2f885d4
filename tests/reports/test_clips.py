"""Frames, log-mel energies and words of clips, as all figures draw them."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors.numpy import save_file

from trimood.reports.clips import draw_frame, draw_log_mel, draw_words, frames_figure, log_mel_figure, thumbnails


def empty_axes() -> Axes:
    return Figure().subplots()


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_a_picture_is_drawn_as_it_is_and_a_missing_one_is_said() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    there, missing = empty_axes(), empty_axes()
    draw_frame(there, picture)
    draw_frame(missing, None)
    assert (there.images[0].get_array() == picture).all()
    assert texts(there) == []
    assert (len(missing.images), texts(missing)) == (0, ["no picture"])


def test_log_mel_energies_are_drawn_over_seconds_with_low_frequencies_at_the_bottom() -> None:
    energies = torch.arange(50.0).reshape(25, 2)  # [time, mel]: a quarter of a second
    there, missing = empty_axes(), empty_axes()
    draw_log_mel(there, energies, " (not read by this model)")
    draw_log_mel(missing, None)
    (image,) = there.images
    assert np.array_equal(np.asarray(image.get_array()), energies.numpy().T)
    assert tuple(image.get_extent()) == (0, 0.25, 0, 2)
    assert image.origin == "lower"
    assert there.get_xlabel() == "seconds (not read by this model)"
    assert (len(missing.images), texts(missing)) == (0, ["no sound"])


def test_words_are_quoted_and_shortened_and_their_absence_is_said() -> None:
    long, none = empty_axes(), empty_axes()
    draw_words(long, "dia1utt1", "word " * 100, longest=20)
    draw_words(none, "dia1utt2", "", "absent: text")
    assert texts(long) == ["dia1utt1", "“word word word …”"]
    assert texts(none) == ["dia1utt2", "no words", "absent: text"]


def test_each_frame_has_its_place_and_no_empty_one_is_left() -> None:
    frames = torch.arange(5 * 3 * 2 * 2, dtype=torch.uint8).reshape(5, 3, 2, 2)
    figure = frames_figure(frames)
    drawn = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    assert np.array_equal(np.stack(drawn), frames.permute(0, 2, 3, 1).numpy())


def test_the_figure_of_log_mel_energies_names_its_axes() -> None:
    (ax,) = log_mel_figure(torch.zeros(10, 4)).axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("seconds", "mel bin")
    assert ax.get_yticks().size > 0


def test_even_noise_makes_small_thumbnails(tmp_path: Path) -> None:
    """Nine experiments show up to 31 utterances, and the page with its figures is to stay below 3 MB."""
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (8, 3, 224, 224), dtype=np.uint8)
    save_file({"frames": frames, "log_mel": generator.random((300, 112), dtype=np.float32)}, tmp_path / "part")
    found = thumbnails(tmp_path / "part")
    assert found.seconds == 3
    assert found.frames is not None
    assert found.log_mel is not None
    assert 1_000 < len(found.frames) + len(found.log_mel) < 1_500_000 / 31

"""Figures of clips: the frames, log-mel energies and words that are a model's input."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from textwrap import fill, shorten
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trimood.emotions import CALIBRATED, EMOTIONS, PROBABILITIES
from trimood.media.parts import Location, load_arrays, load_part
from trimood.reports.drawings import one_of_each_emotion
from trimood.reports.figures import GREY, PALE_BLUE, RED, PlainFigure

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

SHOWN_FRAMES = 4
FRAMES_IN_ROW = 4
STEPS_PER_SECOND = 100  # of log-mel energies

JPEG_QUALITY = 72
FRAME_PIXELS = 104
LOG_MEL_PIXELS = (208, 104)  # width and height


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures of a clip, as JPEG in base64; None for what the clip lacks.

    `frames`: SHOWN_FRAMES of them in a row, or as many as there are. `log_mel`: over time, low frequencies at the
    bottom, over `seconds`.
    """

    frames: str | None
    log_mel: str | None
    seconds: float


def thumbnails(part: Location) -> Thumbnails:
    """Small pictures of a prepared clip, made without matplotlib's axes and without torch; some 10 kB.

    Raises PartError.
    """
    from matplotlib import colormaps
    from PIL import Image

    arrays = load_arrays(part)
    frames, energies = arrays.get("frames"), arrays.get("log_mel")
    strip = None
    if frames is not None and len(frames):
        count = min(SHOWN_FRAMES, len(frames))
        strip = Image.new("RGB", (FRAME_PIXELS * count, FRAME_PIXELS))
        for place in range(count):
            picture = frames[place * len(frames) // count].transpose(1, 2, 0)  # [height, width, 3]
            strip.paste(Image.fromarray(picture).resize((FRAME_PIXELS, FRAME_PIXELS)), (FRAME_PIXELS * place, 0))
    heat = None
    if energies is not None and energies.size:
        low, high = energies.min(), energies.max()
        shares = (energies.T[::-1] - low) / max(high - low, 1e-9)  # [mel, time], low frequencies at the bottom
        colours = colormaps["magma"](shares, bytes=True)[..., :3]
        heat = Image.fromarray(np.ascontiguousarray(colours)).resize(LOG_MEL_PIXELS)
    seconds = 0.0 if energies is None else len(energies) / STEPS_PER_SECOND
    return Thumbnails(_jpeg(strip) if strip else None, _jpeg(heat) if heat else None, seconds)


def _jpeg(picture: "Image") -> str:
    file = BytesIO()
    picture.save(file, "jpeg", quality=JPEG_QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def draw_frame(ax: Axes, picture: np.ndarray | None) -> None:
    """Draws a picture [height, width, 3] uint8, or the note "no picture"."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    if picture is None:
        ax.set_facecolor("#eceff3")
        _draw_note(ax, "no picture")
    else:
        ax.imshow(picture)


def draw_log_mel(ax: Axes, log_mel: "Tensor | None", note: str = "") -> None:
    """Draws log-mel energies [time, mel] over seconds, low frequencies at the bottom, or the note "no sound"."""
    if log_mel is None:
        ax.axis("off")
        _draw_note(ax, "no sound")
        return
    energies = log_mel.numpy().T  # [mel, time]
    extent = (0, energies.shape[1] / STEPS_PER_SECOND, 0, energies.shape[0])
    ax.imshow(energies, aspect="auto", origin="lower", cmap="magma", extent=extent)
    ax.tick_params(labelsize=7)
    ax.set_xlabel(f"seconds{note}", fontsize=7)


def draw_words(ax: Axes, title: str, text: str, note: str = "", longest: int = 150) -> None:
    """Draws a title, the text in quotes (at most `longest` characters) or "no words", and a red note below."""
    ax.axis("off")
    words = shorten(text, longest, placeholder=" …")
    ax.text(0, 0.95, title, va="top", fontsize=9, color="dimgrey")
    ax.text(0, 0.72, fill(f"“{words}”", 42) if words else "no words", va="top", fontsize=10)
    if note:
        ax.text(0, 0.02, fill(note, 48), va="bottom", fontsize=8, color=RED)


def _draw_note(ax: Axes, words: str) -> None:
    ax.text(0.5, 0.5, words, ha="center", va="center", color=GREY, fontsize=9, transform=ax.transAxes)


def contact_sheet(training_examples: pd.DataFrame, prepared_clips: Location) -> Figure:
    """A row for each emotion of the training split: four frames, log-mel energies and words of one example."""
    rows = one_of_each_emotion(training_examples)
    figure = PlainFigure(10, 1.35 * len(rows) + 0.3)
    if rows.empty:
        return figure
    axes = figure.subplots(len(rows), SHOWN_FRAMES + 2, squeeze=False, width_ratios=[*[1] * SHOWN_FRAMES, 1.6, 2.4])
    for row, example in zip(axes, rows.to_dict("records"), strict=True):
        part = load_part(prepared_clips / example["part"])
        pictures = _pictures(part.get("frames"))
        for number, ax in enumerate(row[:SHOWN_FRAMES]):
            draw_frame(ax, pictures[number * len(pictures) // SHOWN_FRAMES] if len(pictures) else None)
        draw_log_mel(row[SHOWN_FRAMES], part.get("log_mel"))
        row[SHOWN_FRAMES].set_yticks([])
        draw_words(row[SHOWN_FRAMES + 1], f"{example['emotion']} · {example['utterance']}", example["text"])
    return figure


def predictions_figure(shown: pd.DataFrame, prepared_clips: Location, total: int) -> Figure:
    """A row for each utterance of `shown`: its middle frame, log-mel energies, words, calibrated probabilities."""
    figure = PlainFigure(11, 1.75 * len(shown) + 0.8)
    rest = f", {len(shown)} of {total} utterances" if len(shown) < total else ""
    unlike = (shown[list(CALIBRATED)].to_numpy() != shown[list(PROBABILITIES)].to_numpy()).any()
    kind = "calibrated on validation" if unlike else "not calibrated (temperature 1)"
    figure.set_title(f"{shown['model'].iloc[0]}{rest}: probabilities, {kind}", 11)
    axes = figure.subplots(len(shown), 4, squeeze=False, width_ratios=[1, 1.6, 2.4, 2])
    for own, row in zip(axes, shown.to_dict("records"), strict=True):
        part = load_part(prepared_clips / row["part"]) if row["part"] else {}
        pictures = _pictures(part.get("frames"))
        draw_frame(own[0], pictures[len(pictures) // 2] if len(pictures) else None)
        draw_log_mel(own[1], part.get("log_mel"), "" if "audio" in row["modalities"] else " (not read by this model)")
        own[1].set_yticks([])
        draw_words(own[2], row["utterance"], row["text"], f"absent: {row['absent']}" if row["absent"] else "")
        _draw_probabilities(own[3], [row[name] for name in CALIBRATED], row["predicted"])
    return figure


def frames_figure(frames: "Tensor") -> Figure:
    """Frames [frame, 3, height, width] uint8, in order, four in a row."""
    rows = -(-len(frames) // FRAMES_IN_ROW)
    figure = PlainFigure(6, 1.6 * rows + 0.3)
    figure.suptitle("Frames that the model saw", fontsize=9)
    axes = figure.subplots(rows, FRAMES_IN_ROW, squeeze=False).ravel()
    for ax, picture in zip(axes, _pictures(frames), strict=False):
        draw_frame(ax, picture)
    for unused in axes[len(frames) :]:
        unused.remove()
    return figure


def log_mel_figure(log_mel: "Tensor") -> Figure:
    """Log-mel energies [time, mel] of a clip."""
    figure = PlainFigure(6, 2.4)
    ax = figure.subplots()
    draw_log_mel(ax, log_mel)
    ax.set_title("Log-mel energies that the model heard", fontsize=9)
    ax.set_ylabel("mel bin")
    return figure


def _pictures(frames: "Tensor | None") -> Sequence[np.ndarray]:
    """Frames [frame, 3, height, width] uint8 as matplotlib draws them, [height, width, 3] each."""
    return [] if frames is None else list(frames.permute(0, 2, 3, 1).numpy())


def _draw_probabilities(ax: Axes, probabilities: Sequence[float], predicted: str) -> None:
    colours = [RED if emotion == predicted else PALE_BLUE for emotion in EMOTIONS]
    bars = ax.barh(EMOTIONS, probabilities, color=colours)
    ax.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
    ax.set_xlim(0, 1.12)
    ax.invert_yaxis()
    ax.tick_params(labelsize=8)
    ax.set_xticks([])
    ax.spines[["top", "right", "bottom"]].set_visible(False)

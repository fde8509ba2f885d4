"""A picture of what the model is given: frames, log-mel and words of one utterance of each emotion."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from upath import UPath

from trimood.emotions import EMOTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_FRAMES = 4


def draw_contact_sheet(training_examples: pd.DataFrame, prepared_clips: Path | UPath):  # type: ignore[no-untyped-def]
    """One row for each emotion that the training split has: four of the frames, the log-mel, and the words.

    What a clip lacks stays white; one that lacks nothing is preferred.
    """
    from matplotlib.figure import Figure

    lacking = ~(training_examples["has_video"] & training_examples["has_audio"])
    best_first = training_examples.assign(lacking=lacking).sort_values(["lacking", "utterance"])
    there = best_first[best_first["part"] != ""]
    rows = there.groupby("emotion").first().reindex(EMOTIONS).dropna(subset="part")
    figure = Figure(figsize=(10, 1.35 * len(rows) + 0.3), layout="constrained")
    grid = figure.add_gridspec(len(rows), SHOWN_FRAMES + 3)
    for row, (emotion, example) in enumerate(rows.iterrows()):
        _draw_row(
            figure,
            grid,
            row,
            f"{emotion} · {example['utterance']}\n“{example['text']}”",
            prepared_clips / example["part"],
        )
    return figure


def _draw_row(figure: "Figure", grid, row: int, words: str, part: Path | UPath) -> None:  # type: ignore[no-untyped-def]
    from textwrap import fill

    from trimood.media.parts import load_part

    tensors = load_part(part)
    if "frames" in tensors:
        frames = tensors["frames"].permute(0, 2, 3, 1).numpy()  # [frame, height, width, 3]
        for column in range(SHOWN_FRAMES):
            ax = figure.add_subplot(grid[row, column])
            ax.imshow(frames[column * len(frames) // SHOWN_FRAMES])
            ax.axis("off")
    if "log_mel" in tensors:
        ax = figure.add_subplot(grid[row, SHOWN_FRAMES])
        ax.imshow(tensors["log_mel"].numpy().T, aspect="auto", origin="lower", cmap="magma")
        ax.set_xticks([])
        ax.set_yticks([])
    ax = figure.add_subplot(grid[row, SHOWN_FRAMES + 1 :])
    ax.axis("off")
    ax.text(0, 0.5, "\n".join(fill(line, 38) for line in words.split("\n")), va="center", fontsize=9)

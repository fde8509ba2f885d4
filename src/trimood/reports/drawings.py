"""Pictures that are drawn only if something that they show has changed. Imports no matplotlib until one is drawn."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from trimood.emotions import EMOTIONS
from trimood.reports.html import PICTURE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTE = "Comment"
"""The text chunk of the PNG file in which the digest of what it shows is stored."""


@dataclass(frozen=True)
class Drawing:
    """A figure that is not drawn yet, and all that it shows: `shown` has a row for each part of it."""

    draw: "Callable[[], Figure]"
    shown: pd.DataFrame

    def is_in(self, path: Path) -> bool:
        """Whether a PNG file shows this already, drawn by the same code."""
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as picture:
                return picture.info.get(NOTE) == self._digest()
        except (OSError, UnidentifiedImageError):
            return False

    def write(self, path: Path) -> None:
        """Draws the figure into a PNG file."""
        with path.open("wb") as file:
            self.draw().savefig(file, **PICTURE, metadata={NOTE: self._digest()})

    def _digest(self) -> str:
        digest = hashlib.sha256(self.shown.to_csv(index=False).encode())
        for module in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(module.read_bytes())
        return digest.hexdigest()


def one_of_each_emotion(examples: pd.DataFrame) -> pd.DataFrame:
    """One example of each emotion in class order, with a part, and preferably with both pictures and sound."""
    lacking = ~(examples["has_video"] & examples["has_audio"])
    best_first = examples.assign(lacking=lacking).sort_values(["lacking", "utterance"])
    first = best_first[best_first["part"] != ""].groupby("emotion").first()
    return first.reindex(EMOTIONS).dropna(subset="part").rename_axis("emotion").reset_index()

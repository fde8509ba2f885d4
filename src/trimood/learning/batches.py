"""From a table of examples to batches of tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trimood.emotions import Modality
from trimood.media.audio import mel_image
from trimood.media.parts import load_part


@dataclass(frozen=True)
class AudioInput:
    """How a log-mel becomes the audio tower's image; every value from the checkpoint's configuration."""

    target_length: int
    mean: float
    std: float


@dataclass(frozen=True)
class Augmentation:
    """Random changes, for training only: the probability of mirrored frames, and random starts of the mel chunks."""

    flip_probability: float
    random_mel_chunks: bool


class Examples(Dataset[dict[str, Tensor]]):
    """Utterances as tensors, one at a time: labels, and input_ids, frames and mel as the modalities ask for them."""

    def __init__(
        self,
        table: pd.DataFrame,
        input_ids: Tensor | None,
        prepared_clips: Path,
        modalities: Sequence[Modality],
        audio: AudioInput | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        """`table` has `label` and `part` (a file in `prepared_clips`); `input_ids` [utterance, 77] are of its rows."""
        self._labels = torch.tensor(table["label"].to_numpy(dtype="int64"))
        self._parts = [prepared_clips / part for part in table["part"]]
        self._input_ids = input_ids
        self._modalities, self._audio, self._augmentation = set(modalities), audio, augmentation

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = {"labels": self._labels[index]}
        if self._input_ids is not None:
            item["input_ids"] = self._input_ids[index]
        if self._modalities & {"video", "audio"}:
            part = load_part(self._parts[index])
            if "video" in self._modalities:
                item["frames"] = self._flipped(part["frames"])  # [frame, 3, height, width] uint8
            if "audio" in self._modalities:
                item["mel"] = self._image(part["log_mel"])  # [3, mel, time] float32
        return item

    def _flipped(self, frames: Tensor) -> Tensor:
        # Randomness comes from torch's global generator, which the trainer seeds, also in its loader's workers.
        if self._augmentation and torch.rand(()) < self._augmentation.flip_probability:
            return frames.flip(-1)
        return frames

    def _image(self, log_mel: Tensor) -> Tensor:
        assert self._audio is not None  # noqa: S101
        generator = None
        if self._augmentation and self._augmentation.random_mel_chunks:
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        return mel_image(log_mel, self._audio.target_length, self._audio.mean, self._audio.std, generator)


def collate(items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stacks every field: [utterance, …]."""
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}

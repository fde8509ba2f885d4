"""Converts a table of examples to batches of tensors."""

import copy
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from trimood.config.experiment_settings import AugmentationParams
from trimood.emotions import MODALITIES, Modality
from trimood.media.audio import mel_image
from trimood.media.errors import PartError
from trimood.media.parts import TENSORS, Location, load_part
from trimood.media.recipes import VideoRecipe

if TYPE_CHECKING:
    from accelerate.data_loader import SeedableRandomSampler

INPUTS: Mapping[Modality, str] = {"video": "frames", "audio": "mel", "text": "input_ids"}
"""The field of a batch from which each modality is embedded."""


@dataclass(frozen=True)
class AudioInput:
    """How a log-mel becomes the audio tower's input image; all values come from the checkpoint's configuration."""

    mel_bins: int
    target_length: int
    mean: float
    std: float


class Examples(Dataset[dict[str, Tensor]]):
    """Utterances as tensors: `labels` (if known), `present`, `input_ids`, `frames` and `mel`.

    A modality that an utterance lacks is filled with zeros; nothing is read for it. A modality whose embeddings are
    known has the field `video_embedding`, `audio_embedding` or `text_embedding` instead.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        input_ids: Tensor | None,
        prepared_clips: Location,
        modalities: Sequence[Modality],
        video: VideoRecipe | None = None,
        audio: AudioInput | None = None,
        augmentation: AugmentationParams | None = None,
        padding: int | None = None,
    ) -> None:
        """`table` has `part` (a file in `prepared_clips`), the columns for `presence`, and `label` if it is known.

        `input_ids` is [utterance, token], a row for each row of the table; a text encoder fills them with `padding`.
        """
        self._labels = torch.tensor(table["label"].to_numpy(dtype="int64")) if "label" in table else None
        self._part_names = table["part"].tolist()
        self._parts = [prepared_clips / part for part in self._part_names]
        self._present = presence(table)
        self._input_ids, self._padding = input_ids, padding
        self._modalities, self._augmentation = set(modalities), augmentation
        self._video, self._audio = video, audio
        self._embeddings: Mapping[Modality, Tensor] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = {"present": self._present[index]}
        if self._labels is not None:
            item["labels"] = self._labels[index]
        item |= {f"{modality}_embedding": rows[index] for modality, rows in self._embeddings.items()}
        read = self._modalities - self._embeddings.keys()
        if self._input_ids is not None and "text" in read:
            item["input_ids"] = self._input_ids[index]
        present = dict(zip(MODALITIES, self._present[index].tolist(), strict=True))
        part = self._read(index, [name for name in TENSORS if name in read and present[name]])
        if "video" in read:  # [frame, 3, height, width] uint8
            item["frames"] = self._flipped(part["frames"]) if present["video"] else self._no_frames()
        elif "video" in self._modalities and present["video"]:
            self._is_flipped()  # so that the random numbers after it are those of a training that reads the frames
        if "audio" in read:  # [3, mel, time] float32
            item["mel"] = self._image(part["log_mel"]) if present["audio"] else self._no_mel()
        return item

    @property
    def labels(self) -> list[int]:
        """The class numbers; none if they are not known."""
        return [] if self._labels is None else self._labels.tolist()

    @property
    def is_for_training(self) -> bool:
        """Whether they are read with augmentation, even if all of it is switched off."""
        return self._augmentation is not None

    def is_random(self, modality: Modality) -> bool:
        """Whether the input of this modality may change from one reading to the next."""
        if self._augmentation is None or modality == "text":
            return False
        return self._augmentation.flip_probability > 0 if modality == "video" else self._augmentation.random_mel_chunks

    def contents(self, modality: Modality) -> list[bytes | None]:
        """For each utterance, 16 bytes that name what is embedded: the tokens, or the part; None if it is absent.

        A part is named by the content of its clip and the recipe.
        """
        if modality != "text":
            named = [name.encode() for name in self._part_names]
        else:  # no utterance has no tokens
            rows = torch.empty(0, 0) if self._input_ids is None else self._input_ids
            named = [ids[:length].tobytes() for ids, length in zip(rows.numpy(), self.text_lengths(), strict=True)]
        present = self._present[:, MODALITIES.index(modality)].tolist()
        return [
            hashlib.blake2b(name, digest_size=16).digest() if is_there else None
            for name, is_there in zip(named, present, strict=True)
        ]

    def text_lengths(self) -> list[int]:
        """The number of tokens of each text, without those that fill the texts of an encoder."""
        if self._input_ids is None:
            return []
        if self._padding is None:
            return [self._input_ids.shape[1]] * len(self._input_ids)
        places = torch.arange(1, self._input_ids.shape[1] + 1)
        lengths: list[int] = ((self._input_ids != self._padding) * places).amax(dim=1).tolist()
        return lengths

    def lengths(self) -> list[int]:
        """`text_lengths`, if batches are filled up to their longest text; empty if their texts have one length."""
        is_read = "text" in self._modalities - self._embeddings.keys()
        return self.text_lengths() if is_read and self._padding is not None else []

    def of_one(self, modality: Modality) -> "Examples":
        """The same utterances with the input of one modality, without augmentation."""
        other = copy.copy(self)
        other._modalities, other._augmentation = {modality}, None
        return other

    def with_embeddings(self, embeddings: Mapping[Modality, Tensor]) -> "Examples":
        """The same utterances with known embeddings, [utterance, projection_dim] each, for some modalities."""
        other = copy.copy(self)
        other._embeddings = embeddings
        return other

    def _read(self, index: int, modalities: Sequence[Modality]) -> dict[str, Tensor]:
        path = self._parts[index]
        part = load_part(path) if modalities else {}
        for modality in modalities:
            if TENSORS[modality][0] not in part:
                raise PartError(
                    f"{path}: contains {', '.join(part) or 'nothing'}, but according to the table of examples it has "
                    f"{modality}. Prepare the clips again: kedro run --pipelines=preprocessing"
                )
        return part

    def _no_frames(self) -> Tensor:
        assert self._video is not None  # noqa: S101 - `LoadedModel` sets it for this modality
        side = self._video.frame_size_pixels
        return torch.zeros(self._video.frame_count, 3, side, side, dtype=torch.uint8)

    def _no_mel(self) -> Tensor:
        assert self._audio is not None  # noqa: S101 - as above
        return torch.zeros(3, self._audio.mel_bins, self._audio.target_length)

    def _flipped(self, frames: Tensor) -> Tensor:
        return frames.flip(-1) if self._is_flipped() else frames

    def _is_flipped(self) -> bool:
        # Uses torch's global generator, which the trainer seeds, also in the workers of its loader.
        return bool(self._augmentation and torch.rand(()) < self._augmentation.flip_probability)

    def _image(self, log_mel: Tensor) -> Tensor:
        assert self._audio is not None  # noqa: S101 - as above
        generator = None
        if self._augmentation and self._augmentation.random_mel_chunks:
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        return mel_image(log_mel, self._audio.target_length, self._audio.mean, self._audio.std, generator)


def presence(table: pd.DataFrame) -> Tensor:
    """Which of video, audio, text each utterance has, [utterance, 3] bool.

    Without the columns `has_video` and `has_audio`, every utterance has both. Text of only white space counts as
    absent.
    """
    everything = pd.Series(True, index=table.index)
    columns = [
        table.get("has_video", everything),
        table.get("has_audio", everything),
        table["text"].fillna("").str.strip() != "",
    ]
    return torch.tensor(pd.concat(columns, axis=1).to_numpy(dtype=bool)).view(-1, len(MODALITIES))


def collate(items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stacks every field to [utterance, …]."""
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


IGNORED = "is_ignored"
"""In a batch that does not count, because another process has the last utterances of the step."""


def collate_some(items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor] | None:
    """As `collate`; None for a share without utterances."""
    return collate(items) if items else None


class Share(Sampler[list[int]]):
    """The batches of one of several processes: of each step, as many as the others have, and some may be empty.

    With `lengths`, texts of about one length are in a batch, so that few tokens fill it up. The steps are the same.
    """

    def __init__(
        self,
        order: "SeedableRandomSampler",
        a_step: int,
        batch_size: int,
        processes: int = 1,
        process: int = 0,
        lengths: Sequence[int] = (),
    ) -> None:
        self._order, self._a_step, self._batch_size = order, a_step, batch_size
        self._processes, self._process, self._lengths = processes, process, lengths

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of this epoch."""
        self._order.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self._order)
        for start in range(0, len(order), self._a_step):
            step = order[start : start + self._a_step]
            if self._lengths:
                step.sort(key=self._lengths.__getitem__)
            batches = np.array_split(step, self._processes * self._batches_of(len(step)))
            yield from (batch.tolist() for batch in batches[self._process :: self._processes])

    def __len__(self) -> int:
        whole, rest = divmod(len(self._order), self._a_step)
        return whole * self._batches_of(self._a_step) + self._batches_of(rest)

    def _batches_of(self, utterances: int) -> int:
        return math.ceil(utterances / (self._batch_size * self._processes))


class ShareLoader(DataLoader[Any]):
    """Passes the epoch on, as the loaders of accelerate do."""

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of this epoch."""
        assert isinstance(self.batch_sampler, Share)  # noqa: S101 - for mypy
        self.batch_sampler.set_epoch(epoch)

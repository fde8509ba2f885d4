"""What is stored of a trained model, each as one safetensors file: trained weights, and embeddings of whole splits.

Importing this module imports no torch: nodes name these classes in their signatures.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from trimood.config.plan import ExampleFingerprints, Plan
from trimood.disk import written_whole
from trimood.emotions import EMOTIONS, MODALITIES, Modality
from trimood.model.config import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


Epoch = Literal["best", "last"]
"""Of the epochs of a training, those whose weights are kept."""


class AboutWeights(BaseModel):
    """What trained weights belong to, stored in the header of their file.

    `fingerprint`: of the tensors, by `trained.weights_fingerprint`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: Plan
    examples: ExampleFingerprints
    epoch: Epoch
    emotions: tuple[str, ...] = EMOTIONS
    fingerprint: str


class TrainedWeights:
    """What a training changed, by name: tensors in memory, or in a file that is read when they are asked for."""

    def __init__(self, about: AboutWeights, tensors: "Mapping[str, Tensor] | Path") -> None:
        self.about, self._tensors = about, tensors

    @property
    def tensors(self) -> "Mapping[str, Tensor]":
        """All of them, on the CPU."""
        if not isinstance(self._tensors, Path):
            return self._tensors
        with safe_open(self._tensors, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a mapping

    @property
    def head(self) -> "Tensor":
        """The weight of the head alone, [7, channel] float32 on the CPU."""
        if not isinstance(self._tensors, Path):
            return self._tensors["head.weight"]
        with safe_open(self._tensors, framework="pt") as file:
            return file.get_tensor("head.weight")

    def check_plan(self, plan: Plan) -> None:
        """Raises CheckpointError where these are not the weights of this plan.

        A plan is stored before its training. A training that was stopped leaves its plan beside the weights of an
        earlier one, which may well have the same shapes.
        """
        stored, planned = (of.model_dump(mode="json") for of in (self.about.plan, plan))
        if stored != planned:
            raise CheckpointError(
                "the stored weights were trained by another plan than the stored one "
                f"({_first_difference(stored, planned)}): the training of the stored plan was not finished. Run the "
                "experiment to its end, then this again."
            )

    def check_examples(self, **fingerprints: str) -> None:
        """Raises CheckpointError where a table of examples is not the one that these weights belong to.

        `fingerprints`: `training`, `validation` or `test` with the fingerprint of today's table.
        """
        known = self.about.examples.model_dump()
        changed = [split for split, fingerprint in fingerprints.items() if known[split] != fingerprint]
        if changed:
            raise CheckpointError(
                f"the {' and '.join(changed)} examples are not those that these weights belong to, so their scores "
                "would mean nothing: the data was split or prepared in another way since the training. Run the "
                "experiment again, or prepare the data as it was: kedro run --pipelines=preprocessing with the same "
                "--params data.…"
            )


@dataclass(frozen=True)
class Embeddings:
    """What the head reads of one or more splits, and which weights made it.

    `splits`: of each split, [utterance, projection_dim] float32 for each modality of the model, in the order of
    MODALITIES. `utterances`: their keys, in the same order. `weights`: the fingerprint of the trained weights.
    """

    weights: str
    utterances: dict[str, list[str]]
    splits: dict[str, dict[Modality, np.ndarray]]

    def of(self, split: str, weights: TrainedWeights) -> dict[Modality, np.ndarray]:
        """The embeddings of one split. Raises CheckpointError where these weights did not make them."""
        if self.weights != weights.about.fingerprint:
            raise CheckpointError(
                f"the stored embeddings are those of other weights ({self.weights}) than the stored ones "
                f"({weights.about.fingerprint}). Make them again: kedro run --pipelines=NAME --from-nodes=NAME.embed"
            )
        return self.splits[split]


def read_weights(path: Path) -> TrainedWeights:
    """The weights of a safetensors file, of which only the header is read now.

    Raises CheckpointError for a damaged file, and for one that an earlier version wrote.
    """
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole file of weights ({error}). Run the experiment again.") from error
    try:
        return TrainedWeights(AboutWeights.model_validate_json(header.get("about", "{}")), path)
    except ValidationError as error:
        wrong = ", ".join(sorted({str(item["loc"][0]) for item in error.errors()}))
        raise CheckpointError(
            f"{path}: its header was written by another version of trimood (missing or wrong: {wrong}). Run the "
            "experiment again."
        ) from error


def write_weights(path: Path, weights: TrainedWeights) -> None:
    """The weights as a safetensors file, whole or not at all. Raises DiskFull."""
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in weights.tensors.items()}
    with written_whole(path) as beside:
        save_file(tensors, beside, {"about": weights.about.model_dump_json()})


def read_embeddings(path: Path) -> Embeddings:
    """What `write_embeddings` wrote. Raises CheckpointError for a damaged file."""
    try:
        with safe_open(path, framework="np") as file:
            header, names = file.metadata(), set(file.keys())
            utterances: dict[str, list[str]] = json.loads(header["utterances"])
            splits: dict[str, dict[Modality, np.ndarray]] = {
                split: {m: file.get_tensor(f"{split}/{m}") for m in MODALITIES if f"{split}/{m}" in names}
                for split in utterances
            }
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a whole file of embeddings ({error}). Run the experiment again.") from error
    return Embeddings(header["weights"], utterances, splits)


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    """A safetensors file with a tensor for each split and modality ("test/video"), whole or not at all.

    Raises DiskFull.
    """
    from safetensors.numpy import save_file

    arrays = {f"{split}/{name}": rows for split, of in embeddings.splits.items() for name, rows in of.items()}
    with written_whole(path) as beside:
        save_file(arrays, beside, {"weights": embeddings.weights, "utterances": json.dumps(embeddings.utterances)})


def _first_difference(stored: object, planned: object, path: str = "") -> str:
    if isinstance(stored, dict) and isinstance(planned, dict):
        for name in [name for name in stored if name in planned and stored[name] != planned[name]]:
            return _first_difference(stored[name], planned[name], f"{path}.{name}".strip("."))
    return f"{path}: {stored!r} and {planned!r}"

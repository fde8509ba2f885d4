"""Storage of trained weights and of the embeddings of whole splits, as safetensors files.

Importing this module does not import torch, because nodes use these classes in their signatures.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from trimood.config.experiment_settings import ContextParams
from trimood.config.plan import ExampleFingerprints, Plan
from trimood.disk import written_whole
from trimood.emotions import EMOTIONS, MODALITIES, Modality, Source
from trimood.model.config import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

Epoch = Literal["best", "last"]
"""The epochs of a training whose weights are stored."""


class Imported(BaseModel):
    """The origin of weights that were trained elsewhere.

    `source`: the folder or hub name that they were read from. `digest`: 16 hexadecimal digits of the tensors, so that
    a moved folder is the same. `head`: whether the file had a head, or it has its seeded initial values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    digest: str
    head: Literal["given", "seeded"]


class RunIdentity(BaseModel):
    """All that determines the result of an experiment: two runs of one identity have the same result.

    Exceptions are another device, and another micro-batch that `training.micro_batch: auto` finds on it.

    `experiment`: its name. `examples`: the `examples_fingerprint` of each table. `checkpoints`: digests of their files'
    content, so that a moved or copied checkpoint is the same. `recipe`: the name of the recipe of prepared clips.
    `code`: the `code_version`. `conversations`: the `conversations_fingerprint` of each table, if the plan has a
    context. `imported`: None if the weights are trained here; otherwise the fingerprint of the training examples is
    empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    plan: Plan
    examples: ExampleFingerprints
    checkpoints: dict[Source, str]
    recipe: str
    code: str
    imported: Imported | None = None
    conversations: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of everything but the places of checkpoints, text encoder and imported weights."""
        return hashlib.sha256(json.dumps(self._decisive(), sort_keys=True).encode()).hexdigest()[:16]

    def check_examples(self, **tables: pd.DataFrame) -> None:
        """Raises CheckpointError if a table differs from that of the same name: `training`, `validation` or `test`."""
        known = self.examples.model_dump()
        changed = [
            split
            for split, table in tables.items()
            if known[split] != examples_fingerprint(table)
            or self.conversations.get(split, "") != conversations_fingerprint(table, self.plan.settings.context)
        ]
        if changed:
            raise CheckpointError(
                f"the {' and '.join(changed)} examples are not those that this training and its weights belong to, so "
                "scores would be meaningless: the data was split or prepared differently in the meantime. Run the "
                "experiment again, or prepare the data as before: kedro run --pipelines=preprocessing with the same "
                "--params data.…"
            )

    def _decisive(self) -> dict[str, object]:
        decisive = self.model_dump(
            mode="json",
            exclude={"plan": {"checkpoints": True, "settings": {"text_tower"}}, "imported": {"source": True}},
        )
        return {name: value for name, value in decisive.items() if name != "imported" or value}


def examples_fingerprint(examples: pd.DataFrame) -> str:
    """Returns 16 hexadecimal digits of the order of examples and all that a model reads: text, label, prepared clip."""
    return _fingerprint(examples, ("utterance", "text", "label", "part", "has_video", "has_audio"))


def conversations_fingerprint(examples: pd.DataFrame, context: ContextParams) -> str:
    """Returns the same of what a context is made of: conversation, place and speaker. "" without a context.

    It is no part of `examples_fingerprint`, by which runs with and without a context are compared.
    """
    return "" if context.is_none else _fingerprint(examples, ("conversation_id", "utterance_id", "speaker"))


def _fingerprint(examples: pd.DataFrame, decisive: Sequence[str]) -> str:
    rows = examples[[name for name in decisive if name in examples]].values.tolist()
    return hashlib.sha256(json.dumps(rows, default=str).encode()).hexdigest()[:16]


@cache
def code_version() -> str:
    """Returns the version of trimood and 16 hexadecimal digits of the modules that embed, train and score.

    A changed module thus gets new results.
    """
    digest = hashlib.sha256()
    for path in decisive_modules(Path(__file__).parents[1]):
        digest.update(path.read_bytes())
    return f"{version('trimood')} {digest.hexdigest()[:16]}"


SCORES_OF_A_RUN = ("ablation", "baselines", "calibration", "intervals", "metrics", "summary", "systems")
"""The modules of `scoring` that the pipeline of an experiment uses; the others compare and describe stored results."""


def decisive_modules(package: Path) -> list[Path]:
    """The modules below the folder of trimood on which the stored results of a training depend, sorted."""
    modules = [file for name in ("learning", "model") for file in (package / name).rglob("*.py")]
    modules += [package / "scoring" / f"{name}.py" for name in SCORES_OF_A_RUN]
    # They make the audio tower's image of a log-mel, and the weights of a loss.
    modules += [package / "media" / "audio.py", package / "corpus" / "class_balance.py"]
    return sorted(modules)


class AboutWeights(BaseModel):
    """The origin of trained weights, stored in the header of their file.

    `fingerprint` is that of the tensors, computed by `trained.weights_fingerprint`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: RunIdentity
    epoch: Epoch
    emotions: tuple[str, ...] = EMOTIONS
    fingerprint: str

    @property
    def plan(self) -> Plan:
        """The plan of the training."""
        return self.identity.plan


_HEAD = "head."


class TrainedWeights:
    """The trained tensors by name, in memory or in a file that is read on access."""

    def __init__(self, about: AboutWeights, tensors: "Mapping[str, Tensor] | Path") -> None:
        self.about, self._tensors = about, tensors

    @property
    def tensors(self) -> "Mapping[str, Tensor]":
        """All trained tensors, on the CPU."""
        if not isinstance(self._tensors, Path):
            return self._tensors
        with safe_open(self._tensors, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a mapping

    @property
    def head(self) -> "dict[str, Tensor]":
        """The tensors of the head by their names within it, on the CPU."""
        if not isinstance(self._tensors, Path):
            return {name[len(_HEAD) :]: tensor for name, tensor in self._tensors.items() if name.startswith(_HEAD)}
        with safe_open(self._tensors, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(_HEAD)]  # noqa: SIM118 - as above
            return {name[len(_HEAD) :]: file.get_tensor(name) for name in names}

    def check_identity(self, identity: RunIdentity) -> None:
        """Raises CheckpointError if these weights are of another plan, of other examples or of other code.

        The identity is stored before the training, so after an interrupted training it is stored beside the weights of
        an earlier one, which may have the same shapes.
        """
        stored, current = self.about.identity, identity
        if stored.digest != current.digest:
            raise CheckpointError(
                "the stored weights are of another run than the stored plan and examples "
                f"({_first_difference(stored._decisive(), current._decisive())}): the training of the stored plan has "
                "not finished. Run the whole experiment, then run this again."
            )


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of one or more splits.

    `splits`: for each split and each modality of the model, [utterance, projection_dim] float32, in the order of
    MODALITIES; for a head that reads states, [utterance, state, projection_dim + 1] (`model.heads`). `utterances`:
    their keys, in the same order. `weights`: the fingerprint of the trained weights.
    """

    weights: str
    utterances: dict[str, list[str]]
    splits: dict[str, dict[Modality, np.ndarray]]

    def of(self, split: str, weights: TrainedWeights) -> dict[Modality, np.ndarray]:
        """Returns the embeddings of one split. Raises CheckpointError if they were computed with other weights."""
        if self.weights != weights.about.fingerprint:
            raise CheckpointError(
                f"the stored embeddings are those of other weights ({self.weights}) than the stored ones "
                f"({weights.about.fingerprint}). Compute them again: kedro run --pipelines=NAME --from-nodes=NAME.embed"
            )
        return self.splits[split]


def without_padding(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The states that are no padding, [state, channel], and how many each utterance has, [utterance] int64."""
    is_real = states[..., -1] != 0
    return states[is_real], is_real.sum(axis=1)


def with_padding(states: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The inverse of `without_padding`: [utterance, state, channel], padded to the utterance with the most states."""
    is_real = np.arange(counts.max(initial=0)) < counts[:, None]
    padded = np.zeros((*is_real.shape, states.shape[-1]), dtype=states.dtype)
    padded[is_real] = states
    return padded


_COUNTS = " states"
"""Ends the name of the tensor that counts the states of each utterance, where states are stored without padding."""


def read_weights(path: Path) -> TrainedWeights:
    """Opens a safetensors file of weights, and reads only its header.

    Raises CheckpointError for a damaged file, and for a file of an earlier version.
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
    """Writes the weights to a safetensors file, completely or not at all. Raises DiskFull."""
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in weights.tensors.items()}
    with written_whole(path) as beside:
        save_file(tensors, beside, {"about": weights.about.model_dump_json()})


def read_embeddings(path: Path) -> Embeddings:
    """Reads a file of `write_embeddings`. Raises CheckpointError for a damaged file."""
    try:
        with safe_open(path, framework="np") as file:
            header, names = file.metadata(), set(file.keys())
            utterances: dict[str, list[str]] = json.loads(header["utterances"])
            splits: dict[str, dict[Modality, np.ndarray]] = {
                split: {m: _padded(file, f"{split}/{m}", names) for m in MODALITIES if f"{split}/{m}" in names}
                for split in utterances
            }
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a whole file of embeddings ({error}). Run the experiment again.") from error
    return Embeddings(header["weights"], utterances, splits)


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Writes a safetensors file with a tensor for each split and modality ("test/video"), completely or not at all.

    States are written without padding, and counted ("test/text states"). Raises DiskFull.
    """
    from safetensors.numpy import save_file

    arrays = {f"{split}/{name}": rows for split, of in embeddings.splits.items() for name, rows in of.items()}
    for name in [name for name, rows in arrays.items() if rows.ndim > 2]:
        arrays[name], arrays[f"{name}{_COUNTS}"] = without_padding(arrays[name])
    with written_whole(path) as beside:
        save_file(arrays, beside, {"weights": embeddings.weights, "utterances": json.dumps(embeddings.utterances)})


def _padded(file: Any, name: str, names: Collection[str]) -> np.ndarray:
    rows: np.ndarray = file.get_tensor(name)
    return with_padding(rows, file.get_tensor(f"{name}{_COUNTS}")) if f"{name}{_COUNTS}" in names else rows


def _first_difference(stored: object, planned: object, path: str = "") -> str:
    if isinstance(stored, dict) and isinstance(planned, dict):
        for name in [name for name in stored if name in planned and stored[name] != planned[name]]:
            return _first_difference(stored[name], planned[name], f"{path}.{name}".strip("."))
    return f"{path}: {stored!r} and {planned!r}"

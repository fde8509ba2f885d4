"""What is kept of a run until MLflow has it: how the run is opened, by which process, and each record of it."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from trimood.tracking.store import OutOfReach
from trimood.tracking.view import Group

Status = Literal["FINISHED", "FAILED", "KILLED"]

LOCK, OPENING, ASIDE = "sending.lock", "opening.json", "aside-"
"""Names in the folder of a run; a record that MLflow does not take is renamed to `aside-NUMBER.json`."""


class CannotOpen(OutOfReach):
    """The store answers, but opens no such run."""


class NotTaken(Exception):
    """The store answers, but does not take this record."""


class Opening(BaseModel):
    """How a run is opened. `run` is its id in MLflow once it is known, `uri` the store of which it is a run.

    `group`: its MLflow experiment. `key` is a tag of the run, by which it is found again. With an `identity`, the run
    of an unfinished training of this identity in this checkout is opened again.
    """

    name: str
    uri: str
    key: str
    start_time: int
    tags: dict[str, str]
    group: Group = "trainings"
    identity: str | None = None
    run: str | None = None


class Values(BaseModel):
    """Params, tags, and metrics as (name, value, time in ms, step)."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    kind: Literal["values"] = "values"
    params: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = Field(default_factory=list)


class File(BaseModel):
    """A file or folder, and the artifact folder in which it is put."""

    kind: Literal["file"] = "file"
    path: Path
    folder: str | None = None


class Model(BaseModel):
    """The files of a trained model."""

    kind: Literal["model"] = "model"
    weights: Path
    calibration: Path


class Table(BaseModel):
    """A table of examples as an MLflow dataset: `context` is its split, `source` its file, `digest` its fingerprint."""

    kind: Literal["table"] = "table"
    context: str
    digest: str
    source: str
    utterances: int


class Answers(BaseModel):
    """What a report says of all trainings, as Markdown for their description."""

    kind: Literal["answers"] = "answers"
    text: str


class Closing(BaseModel):
    """The end of a run. Without all outputs of its experiment, it is tagged as partial."""

    kind: Literal["closing"] = "closing"
    status: Status
    end_time: int
    partial: bool


Operation = Values | File | Model | Table | Answers | Closing

OPERATION: TypeAdapter[Operation] = TypeAdapter(Annotated[Operation, Field(discriminator="kind")])
"""Reads a record of any kind."""


def number_of(path: Path) -> int:
    """The number of a record by the name of its file, also if it is set aside."""
    return int(path.stem.removeprefix(ASIDE))


def opening_in(folder: Path) -> Opening | None:
    """How the run in this folder is opened; None if another command has just sent it, or if the file is damaged."""
    try:
        return Opening.model_validate_json((folder / OPENING).read_bytes())
    except (OSError, ValidationError):
        return None


def this_process() -> str:
    """Process id and start time. A later process with the same id has another start time."""
    process = psutil.Process()
    return f"{process.pid} {process.create_time():.0f}"


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process in a run's tags is alive on this host; one that its parent has not waited for is not."""
    pid, _, started = tags.get("process", "").partition(" ")
    try:
        process = psutil.Process(int(pid))
        is_same = tags.get("host") == platform.node() and abs(process.create_time() - float(started)) < 2
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False

"""The space of a search: checks it, and inserts drawn values into the experiment's settings."""

import copy
import json
from collections.abc import Mapping
from typing import TypedDict

from pydantic import ValidationError

from trimood.config.experiment_settings import (
    ExperimentParams,
    LoraParams,
    LossParams,
    Settings,
    TrainingParams,
    resolve,
)
from trimood.config.parameters import Dimension


class BestTrial(TypedDict):
    """The trial with the highest macro F1 on validation, and its values by parameter name."""

    trial: int
    validation_macro_f1: float
    finished_trials: int
    values: dict[str, object]


class StudyError(Exception):
    """A study cannot be resumed, or has no successful trial."""


class SpaceError(Exception):
    """The search space contains a parameter or a value that the experiment does not allow."""


def with_changes(own: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Returns an experiment's block with changed values, by dotted parameter names.

    Raises SpaceError for a name below a parameter that is no block.
    """
    changed: dict[str, object] = copy.deepcopy(dict(own))
    for name, value in changes.items():
        *blocks, last = name.split(".")
        place = changed
        for block in blocks:
            inner = place.setdefault(block, {})
            if not isinstance(inner, dict):
                raise SpaceError(f"{name}: {block} is a value ({inner}), so it has no parameters")
            place = inner
        place[last] = list(value) if isinstance(value, tuple) else value
    return changed


def settings_with(
    own: Mapping[str, object],
    training: TrainingParams,
    lora: LoraParams,
    loss: LossParams,
    changes: Mapping[str, object],
) -> Settings:
    """Resolves the experiment's settings with these changes. Raises SpaceError if they are not allowed."""
    try:
        return resolve(ExperimentParams.model_validate(with_changes(own, changes)), training, lora, loss)
    except ValidationError as error:
        words = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        raise SpaceError(f"{', '.join(f'{k} = {v}' for k, v in changes.items())}: {words}") from None


def check_space(
    name: str,
    own: Mapping[str, object],
    training: TrainingParams,
    lora: LoraParams,
    loss: LossParams,
    space: Mapping[str, Dimension],
) -> None:
    """Resolves the experiment with both ends of each range and each choice. Raises SpaceError with all errors."""
    problems = []
    for parameter, dimension in space.items():
        for value in dimension.choices or (dimension.low, dimension.high):
            try:
                settings_with(own, training, lora, loss, {parameter: value})
            except SpaceError as error:
                problems.append(str(error))
    if problems:
        raise SpaceError(f"tune.space does not fit {name}:\n  - " + "\n  - ".join(problems))


def as_set(parameters: Mapping[str, object], space: Mapping[str, Dimension]) -> dict[str, object]:
    """Converts a finished trial's parameters to values: Optuna stores no lists, so choices are stored as JSON."""
    return {
        name: next((choice for choice in space[name].choices if json.dumps(choice) == value), value)
        for name, value in parameters.items()
    }

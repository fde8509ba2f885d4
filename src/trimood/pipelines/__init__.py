"""The stages: a folder for each, whose name is also the name of its pipeline and of its nodes' namespace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Stage:
    """What a stage says of itself, beside its pipeline.

    `tracked`: it has an MLflow run of its own, as an experiment has. `run_separately`: it reads what finished
    experiments have stored in MLflow or on disk, which no edge of the graph shows, so it is run as a command of its
    own. `parameters`: the type of each top-level parameter that belongs to this stage.
    """

    tracked: bool = False
    run_separately: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)

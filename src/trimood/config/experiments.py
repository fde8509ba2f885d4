"""Which experiments there are: the YAML files of one folder; and which reports are tracked beside them."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[3] / "conf" / "base" / "parameters" / "experiments"


REPORTS = ("check_data", "compare", "submission", "tune")
"""Stages that look at the corpus, at many runs or at what is trained: each has an MLflow run, as an experiment has."""


class ExperimentFileError(ValueError):
    """An experiment's file that is no YAML, ends with another word than yml, or has another top key than its name."""


def experiment_names(folder: Path = FOLDER) -> list[str]:
    """Names of the experiments, sorted. Raises ExperimentFileError."""
    names = []
    for path in sorted(folder.glob("*.y*ml")):
        if path.suffix != ".yml":
            raise ExperimentFileError(f"{path}: rename it to {path.stem}.yml, as all experiments' files end with .yml.")
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ExperimentFileError(f"{path}: it is no YAML: {error}") from error
        keys = list(content) if isinstance(content, dict) else []
        if keys != [path.stem]:
            raise ExperimentFileError(
                f"{path}: the top keys are {keys}; allowed is exactly one, {path.stem!r}, "
                "as an experiment's file, its top key and its pipeline bear one name. Rename the key or the file."
            )
        names.append(path.stem)
    return names


def experiment_of(namespace: str | None, names: list[str]) -> str | None:
    """The one of `names` that a node of this namespace belongs to; None for the shared stages."""
    first = (namespace or "").split(".")[0]
    return first if first in names else None

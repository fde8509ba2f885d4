"""Schema of a dataset's `metadata` in the catalog: its layer, what MLflow logs, and which pipeline makes it."""

import re
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from trimood.config.checks import error_lines
from trimood.config.parameters import Parameters, did_you_mean

KINDS: dict[str, tuple[str, ...]] = {
    "plan": (),
    "scores": (),
    "summary": (),
    "ablation": (),
    "metrics": ("as",),
    "tags": ("as",),
    "corpus": (),
    "examples": ("as",),
    "rows": ("as", "by"),
    "model": ("weights",),
    "file": ("as",),
    "identity": (),
    "answers": (),
}
"""The kinds of `metadata.mlflow.log`, and the further keys that each takes."""

OPTIONAL = {("metrics", "as"), ("rows", "by"), ("file", "as")}

Layer = Literal["raw", "intermediate", "primary", "feature", "model_input", "models", "model_output", "reporting"]


class Logged(Parameters):
    """What a run logs of a dataset.

    `as`: the name in MLflow, what comes before the names of metrics, or the artifact folder of a file; `by`: columns by
    which rows are counted; `weights`: the dataset with the weights of the model.
    """

    log: str
    name: str | None = Field(default=None, alias="as")
    by: tuple[Literal["policy", "problem"], ...] = ()
    weights: str | None = None

    @field_validator("log")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"no such kind; allowed: {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}")
        return kind

    @field_validator("name")
    @classmethod
    def _is_a_name_for_mlflow(cls, name: str | None) -> str:
        if not name or not re.fullmatch(r"[\w./ -]+", name):
            raise ValueError("MLflow takes letters, digits, spaces and any of _ - . / in a name")
        return name

    @model_validator(mode="after")
    def _has_the_keys_of_its_kind(self) -> Self:
        given = {type(self).model_fields[name].alias or name for name in self.model_fields_set} - {"log"}
        taken = KINDS[self.log]
        for key in given.difference(taken):
            allowed = " and ".join(taken) or "no other key"
            raise ValueError(f"{key}: not a key of log: {self.log}, which takes {allowed}")
        for key in taken:
            if key not in given and (self.log, key) not in OPTIONAL:
                raise ValueError(f"log: {self.log} needs the key {key}")
        return self


class MadeBy(Parameters):
    """The pipeline that makes a missing raw dataset, unless --params give the path named `unless_given`.

    The dataset is made again when the block `parameters` has changed.
    """

    pipeline: str
    unless_given: str
    parameters: str


class KedroViz(Parameters):
    """What Kedro-Viz reads: the layer, and how a dataset is previewed."""

    layer: Layer
    preview: bool = True
    preview_args: dict[str, object] = Field(default_factory=dict)


class Metadata(Parameters):
    """`metadata` of one dataset; `tell` is a description that is logged with the path when the dataset is saved."""

    kedro_viz: KedroViz | None = Field(default=None, alias="kedro-viz")
    mlflow: Logged | None = None
    made_by: MadeBy | None = None
    tell: str | None = None


def metadata_of(dataset: object) -> Metadata:
    """The metadata of a dataset; empty if the dataset is None or has none."""
    return Metadata.model_validate(getattr(dataset, "metadata", None) or {})


def check_metadata(catalog: Mapping[str, object]) -> None:
    """Checks the metadata of all catalog entries. Raises ValueError, which names the dataset of each wrong word."""
    problems = []
    for name, entry in catalog.items():
        try:
            found = Metadata.model_validate((entry.get("metadata") if isinstance(entry, dict) else None) or {})
            weights = found.mlflow and found.mlflow.weights
            namespace = name.rpartition(".")[0]
            if weights and f"{namespace}.{weights}" not in catalog:
                beside = [other.rpartition(".")[2] for other in catalog if other.rpartition(".")[0] == namespace]
                hint = did_you_mean(weights, beside)
                problems.append(f"{name}: metadata.mlflow.weights: no dataset {namespace}.{weights}.{hint}")
        except ValidationError as error:
            problems += error_lines(error, f"{name}: metadata")
    if problems:
        raise ValueError("conf/*/**/catalog*.yml is wrong:" + "".join(f"\n  - {problem}" for problem in problems))

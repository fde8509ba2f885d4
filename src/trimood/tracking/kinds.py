"""Logs a dataset to MLflow: a function for each kind in the catalog's `metadata.mlflow`."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.config.experiments import question_of
from trimood.config.metadata import Logged
from trimood.config.parameters import flatten
from trimood.config.plan import Plan
from trimood.model.stored import examples_fingerprint
from trimood.scoring.metrics import Scores
from trimood.tracking.outbox import TrackedRun
from trimood.tracking.results import describe, in_a_column
from trimood.tracking.view import INTERVAL, NOTE


@dataclass(frozen=True)
class Entry:
    """A dataset to log: its run, value, file and metadata, and for a model the file of its weights."""

    run: TrackedRun
    data: Any
    path: Path
    logged: Logged
    weights: Path


def _log_plan(entry: Entry) -> None:
    plan = entry.data if isinstance(entry.data, Plan) else entry.data.plan
    entry.run.log(params=flat_plan(plan), tags={"seed": plan.settings.training.seed})
    if imported := getattr(entry.data, "imported", None):  # of an identity
        entry.run.log(tags=flatten({"imported": imported}))


def _log_identity(entry: Entry) -> None:
    """Logs the plan, the identity, and the fingerprints of examples and checkpoints by which runs are compared.

    A run of imported weights thus belongs to its experiment, too.
    """
    _log_plan(entry)
    identity = entry.data
    examples = {split: digest for split, digest in identity.examples.model_dump().items() if digest}
    about = {"identity": identity.digest, "examples": examples, "checkpoint_files": identity.checkpoints}
    entry.run.log(tags=flatten(about | {"experiment": identity.experiment}))


def _log_with_numbers(numbers_of: Callable[[Any], dict[str, float]]) -> Callable[[Entry], None]:
    """Returns a function that logs the dataset's numbers, below its name in MLflow if it has one, and its file."""

    def log(entry: Entry) -> None:
        below = f"{entry.logged.name}/" if entry.logged.name else ""
        entry.run.log({f"{below}{name}": number for name, number in numbers_of(entry.data).items()})
        entry.run.log_file(entry.path)

    return log


def _log_rows(entry: Entry) -> None:
    """Logs the table, and as tags its number of rows, and that for each combination of values in the columns `by`."""
    name, by = entry.logged.name, list(entry.logged.by)
    kinds = entry.data.value_counts(by).to_dict() if by else {}
    entry.run.log(tags={str(name): len(entry.data), **{f"{name} {' '.join(kind)}": n for kind, n in kinds.items()}})
    entry.run.log_file(entry.path)


def _log_corpus(entry: Entry) -> None:
    """Logs as tags which corpus it is and the fingerprints of its files, by which runs are compared; and the file.

    More tags would push a run's description off the screen.
    """
    parts = {name: part["sha256"] for name, part in entry.data.items() if isinstance(part, dict) and "sha256" in part}
    name = {"corpus.corpus": entry.data["corpus"]} if "corpus" in entry.data else {}
    entry.run.log(tags={**name, **{f"corpus.{part}.sha256": digest for part, digest in parts.items()}})
    entry.run.log_file(entry.path)


def _log_examples(entry: Entry) -> None:
    """Logs a table of examples as an MLflow dataset with the digest that is in the run's identity, and its size."""
    split = str(entry.logged.name)
    # In the data root of a job, which is removed, it is a link to the command's own.
    entry.run.log_table(split, examples_fingerprint(entry.data), entry.path.resolve(), len(entry.data))
    fingerprint = {f"{split}_examples": words_fingerprint(entry.data)} if split == "training" else {}
    entry.run.log(tags={f"utterances.{split}": len(entry.data), **fingerprint})


def _log_summary(entry: Entry) -> None:
    """Logs the run's result in words: its interval as a tag for the list of runs, and the run's description."""
    summary = entry.data
    words = in_a_column(summary.test.macro_f1) if summary.test else ""
    note = describe(summary, question_of(summary.experiment))
    entry.run.log(tags={NOTE: note, **({INTERVAL: words} if words else {})})
    entry.run.log_file(entry.path)


def _log_model(entry: Entry) -> None:
    """Logs the model with its calibration, which is its last dataset to be saved."""
    effect = {name: change for name, change in entry.data["validation"].items() if name != "utterances"}
    found = numbers({"temperature": entry.data["temperature"], **effect})
    entry.run.log({f"validation calibration/{name.replace('/', ' ')}": number for name, number in found.items()})
    entry.run.log_model(entry.weights, entry.path)


def words_fingerprint(examples: pd.DataFrame) -> str:
    """Returns 12 hexadecimal digits of the utterances, their text and labels, and their order; not of their clips."""
    content = examples[["utterance", "text", "label"]].to_csv(index=False)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def flat_plan(plan: Plan) -> dict[str, Any]:
    """Returns a plan as params: resolved settings, parameter counts, checkpoints."""
    whole = plan.model_dump(mode="json")
    return flatten({**whole["settings"], "parameters": whole["parameters"], "checkpoint": whole["checkpoints"]})


def numbers(value: Any) -> dict[str, float]:
    """Flattens the numbers in nested values to {"clips/missing": 3.0}; omits strings, lists and booleans."""
    flat = {key.replace(".", "/"): item for key, item in flatten(value).items()}
    return {key: float(v) for key, v in flat.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def flat_scores(scores: Scores) -> dict[str, float]:
    """Flattens scores to {"test/macro_f1": …, "test f1/joy": …}."""
    flat: dict[str, float] = {}
    for split, of_split in scores.items():
        flat |= {f"{split}/{k}": v for k, v in of_split.items() if isinstance(v, float)}
        for emotion, row in of_split["per_class"].items():
            measures = {"precision": row["precision"], "recall": row["recall"], "f1": row["f1"]}
            flat |= {f"{split} {measure}/{emotion}": value for measure, value in measures.items()}
    return flat


def flat_ablation(ablation: Any) -> dict[str, float]:
    """Returns the drops of macro F1 in a modality ablation, as {"test ablation/video blanked": …}."""
    rows = ablation[ablation["change"] != "intact"].itertuples()
    return {f"{row.split} ablation/{row.modality} {row.change}": float(row.macro_f1_drop) for row in rows}


LOG: dict[str, Callable[[Entry], None]] = {
    "plan": _log_plan,
    "identity": _log_identity,
    "scores": _log_with_numbers(flat_scores),
    "ablation": _log_with_numbers(flat_ablation),
    "metrics": _log_with_numbers(numbers),
    "tags": lambda entry: entry.run.log(tags=flatten({entry.logged.name: entry.data})),
    "corpus": _log_corpus,
    "examples": _log_examples,
    "summary": _log_summary,
    "rows": _log_rows,
    "model": _log_model,
    "answers": lambda entry: entry.run.log_answers(entry.data),
    "file": lambda entry: entry.run.log_file(entry.path, entry.logged.name),
}

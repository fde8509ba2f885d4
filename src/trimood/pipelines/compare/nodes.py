"""Nodes of the comparison stage."""

import json
import logging
from typing import Any

import pandas as pd

from trimood.config.parameters import CompareParams, did_you_mean
from trimood.emotions import EMOTIONS
from trimood.scoring.baselines import REFERENCES
from trimood.tracking.runs import DROPS, SEED, CannotCompare, latest_runs, named_runs, system_names
from trimood.tracking.store import examples_fingerprint

log = logging.getLogger(__name__)

AS_THEY_HAD_IT = (
    "Run the experiments again, or prepare the data as they had it: kedro run --pipelines=preprocessing with their "
    "--params data.split.… and data.clips.…, which each run's comparison_page in MLflow shows (make ui)."
)


def choose_runs(mlflow_runs: pd.DataFrame, corpus_description: dict[str, Any], compare: CompareParams) -> pd.DataFrame:
    """One row for each run: what it is a seed of, what was trained, at what cost.

    The runs that `compare.runs` names, else the latest of each experiment and seed on the current corpus. Raises
    CannotCompare where `compare.baseline` is none of them, and as `runs.latest_runs` and `runs.named_runs` do.
    """
    runs = named_runs(mlflow_runs, compare.runs) if compare.runs else latest_runs(mlflow_runs, corpus_description)
    runs = runs.assign(system=system_names(runs) if compare.runs else runs["tags.experiment"])
    names = [*runs["system"].unique(), *REFERENCES]
    if compare.baseline not in names:
        if (others := _finished(mlflow_runs, compare.baseline)) and not compare.runs:
            latest = runs.sort_values("start_time").iloc[-1]
            raise CannotCompare(
                f"compare.baseline: none of the {others} runs of {compare.baseline} can be compared with the latest "
                f"run on this corpus, which is {latest['run_id']} ({latest['tags.experiment']}); the log says above in "
                "which values they differ. Delete that run in MLflow (make ui) if it was a trial, name runs with "
                f"compare.runs, or run with the same values: kedro run --pipelines={compare.baseline} --params …"
            )
        raise CannotCompare(
            f"compare.baseline: {compare.baseline} is not among what is compared; allowed: {', '.join(names)}."
            f"{did_you_mean(compare.baseline, names)} Say --params compare.baseline={names[0]}, or run the experiment "
            f"first: kedro run --pipelines={compare.baseline}"
        )

    def column(name: str) -> pd.Series:
        return runs[name] if name in runs else pd.Series(None, index=runs.index, dtype=object)

    table = pd.DataFrame(
        {
            "run_id": runs["run_id"],
            "system": runs["system"],
            "seed": runs[SEED].astype(int),
            "modalities": runs["params.modalities"].str.replace("+", ", "),
            "train": runs["params.train"],
            "head": runs["params.head"],
            "lora_targets": column("params.lora.targets").str.replace("+", ", "),
            "training_examples": column("tags.training_examples"),
            "trainable_parameters": runs["params.parameters.all.trainable"].astype(int),
            "seconds": column("metrics.cost/seconds").astype(float),
            "peak_memory_gib": column("metrics.cost/peak_memory_gib").astype(float),
        }
    )
    for system, rows in table.groupby("system"):
        log.info("%s: %d seeds", system, len(rows))
    firsts = runs.drop_duplicates("system")
    for name in [str(name) for name in runs.columns if str(name).startswith("params.training.") and name != SEED]:
        if runs[name].nunique() > 1:
            values = ", ".join(
                f"{system} {value}" for system, value in zip(firsts["system"], firsts[name], strict=True)
            )
            log.warning(
                "not trained alike, so a difference need not be the experiments': %s: %s",
                name.removeprefix("params."),
                values,
            )
    return table.sort_values(["system", "seed"], ignore_index=True)


def _finished(mlflow_runs: pd.DataFrame, experiment: str) -> int:
    if "tags.experiment" not in mlflow_runs:
        return 0
    return int(((mlflow_runs["tags.experiment"] == experiment) & (mlflow_runs["status"] == "FINISHED")).sum())


def predict_references(
    compared_runs: pd.DataFrame, compared_predictions: pd.DataFrame, training_examples: pd.DataFrame
) -> pd.DataFrame:
    """What needs no model, on the same utterances: all neutral, the commonest emotion, the words by TF-IDF.

    Raises CannotCompare where the training examples are not those of the runs, or where an utterance to be predicted is
    among them: they are then of another split or treatment of bad clips than the runs.
    """
    from trimood.scoring.baselines import all_neutral, class_prior, tfidf
    from trimood.scoring.comparison import CHANCES

    _check_training_examples(compared_runs, training_examples)
    first = compared_predictions.iloc[0]
    same = (compared_predictions["system"] == first["system"]) & (compared_predictions["seed"] == first["seed"])
    rows = compared_predictions[same]
    seen = set(rows["utterance"]) & set(training_examples["utterance"])
    if seen:
        raise CannotCompare(
            f"{len(seen)} of the runs' validation and test utterances, such as {min(seen)}, are among the training "
            f"examples of today, so the data was split anew after the runs. {AS_THEY_HAD_IT}"
        )
    texts, labels = training_examples["text"].tolist(), training_examples["label"].astype(int)
    chances = (
        all_neutral(len(rows)),
        class_prior(labels, len(rows)),
        tfidf(texts, labels, rows["text"].tolist()),
    )
    tables = []
    for name, found in zip(REFERENCES, chances, strict=True):
        table = rows.assign(system=name, seed=0, predicted=[EMOTIONS[number] for number in found.argmax(axis=1)])
        table[CHANCES] = found
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _check_training_examples(compared_runs: pd.DataFrame, training_examples: pd.DataFrame) -> None:
    """Runs from before they told theirs pass."""
    known = compared_runs[compared_runs["training_examples"].notna()]
    others = known[known["training_examples"] != examples_fingerprint(training_examples)]
    if len(others):
        names = ", ".join(f"{run.system} (seed {run.seed})" for run in others.itertuples())
        raise CannotCompare(
            f"TF-IDF would be fitted on the {len(training_examples)} training examples of today, and other ones had: "
            f"{names}. The data was split, or bad clips were treated, in another way, or clips have come or gone. "
            f"{AS_THEY_HAD_IT}"
        )


def compare_runs(
    compared_runs: pd.DataFrame,
    compared_predictions: pd.DataFrame,
    reference_predictions: pd.DataFrame,
    compared_curves: pd.DataFrame,
    compared_modality_ablation: pd.DataFrame,
    compare: CompareParams,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All that the report shows, and the numbers of it that MLflow follows."""
    from trimood.scoring.baselines import published_figures
    from trimood.scoring.comparison import compare_systems

    predictions = pd.concat([compared_predictions, reference_predictions], ignore_index=True)
    settings = compare.model_dump(mode="json", exclude={"runs"})
    found = compare_systems(predictions, **settings)
    for name in found:
        found[name] |= _about(compared_runs[compared_runs["system"] == name])
        found[name]["curves"] = _curves(compared_curves[compared_curves["system"] == name])
        ablation = compared_modality_ablation[compared_modality_ablation["system"] == name]
        found[name]["modality_ablation"] = _ablation(ablation)
    for name in found:
        _say(name, found[name], compare.baseline)
    test = reference_predictions.query("split == 'test'")
    sizes = {"test_utterances": test["utterance"].nunique(), "test_conversations": test["conversation_id"].nunique()}
    whole = {"settings": settings, **sizes, "systems": found, "published": published_figures()}
    return whole, {name: _numbers(of) for name, of in found.items()}


def _about(runs: pd.DataFrame) -> dict[str, Any]:
    """What the runs of one system share, and the mean of what they cost; nothing for a reference."""
    if runs.empty:
        return {"kind": "reference", "runs": []}
    shared = runs.iloc[0][["modalities", "train", "head", "lora_targets"]]
    cost = runs[["seconds", "peak_memory_gib"]].mean()
    return {
        "kind": "experiment",
        "runs": runs["run_id"].tolist(),
        **{str(name): None if pd.isna(value) else value for name, value in shared.items()},
        "trainable_parameters": int(runs["trainable_parameters"].iloc[0]),
        **{str(name): None if pd.isna(value) else float(value) for name, value in cost.items()},
    }


def _curves(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Training, validation and the gap between them at each epoch, means over seeds."""
    means = rows.assign(gap=rows["train"] - rows["validation"]).groupby("epoch")[["train", "validation", "gap"]].mean()
    return _records(means)


def _ablation(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Means over seeds, a row for each modality and change."""
    by_change = rows.groupby(["modality", "change"], sort=False)[list(DROPS)]
    return _records(by_change.mean())


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: what is not known is None."""
    rows: list[dict[str, Any]] = json.loads(table.reset_index().to_json(orient="records", double_precision=15))
    return rows


def _say(name: str, system: dict[str, Any], baseline: str) -> None:
    score, against = system["macro_f1"], system["difference"]
    words = f"{name}: macro F1 {score['value']:.3f} [{score['low']:.3f} to {score['high']:.3f}]"
    if against:
        words += f", against {baseline}: {against['verdict']} (p {against['p_holm']:.3f})"
    log.info("%s", words)


def _numbers(system: dict[str, Any]) -> dict[str, Any]:
    """The metrics of one system in MLflow."""
    found = {
        score: {part: system[score][part] for part in ("value", "low", "high")} for score in ("macro_f1", "weighted_f1")
    }
    if system["difference"]:
        found["difference"] = {
            "value": system["difference"]["estimate"]["value"],
            "p_holm": system["difference"]["p_holm"],
        }
    return found


def write_report(comparison: dict[str, Any]) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """The comparison_page, the table for a README, and the figures by file name, to be saved as PNG and as SVG."""
    from trimood.reports.comparison import comparison_page, markdown
    from trimood.reports.comparison_figures import figures

    drawn = figures(comparison)
    return (
        comparison_page(comparison, drawn),
        markdown(comparison),
        {f"{name}.png": figure for name, figure in drawn.items()},
        {f"{name}.svg": figure for name, figure in drawn.items()},
    )

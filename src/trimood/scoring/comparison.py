"""Compares systems on the same test utterances; `Comparison` is the schema of `comparison.json`."""

import json

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from trimood.config.parameters import CompareParams, Corpus
from trimood.emotions import CLASS_NUMBERS, EMOTIONS, PROBABILITIES
from trimood.scoring.agreement import (
    check_same_utterances,
    different_settings,
    looks_at_the_test,
    of_unknown_training,
    trained_here,
    unequal_seeds,
    without,
)
from trimood.scoring.baselines import PUBLISHED, PublishedFigure
from trimood.scoring.calibration import (
    Calibration,
    CalibrationScores,
    calibrate,
    reliability,
    with_temperature,
)
from trimood.scoring.intervals import (
    Sampled,
    count_confusions,
    differences,
    draw_conversations,
    estimate,
    f1_of_classes,
    macro_f1,
    sample_score,
    weighted_f1,
)
from trimood.scoring.systems import (
    AblationRow,
    CurvePoint,
    PooledCalibration,
    ReliabilityBin,
    Score,
    Stored,
    System,
    SystemCalibration,
    Training,
)
from trimood.scoring.verdict import Verdict, candidates, judge, shortcomings, unhelpful_temperatures


class Comparison(Stored):
    """All systems by name, the scores published for their corpus, and the parameters of the comparison.

    `remarks` are sentences about in what the systems differ: seeds that were left out, training settings, and
    temperatures that do not help. `shortcomings` are sentences about emotions and modalities that experiments ignore.
    """

    settings: CompareParams
    remarks: tuple[str, ...] = ()
    corpus: Corpus = "ecf"
    test_utterances: int
    test_conversations: int
    systems: dict[str, System]
    verdict: Verdict
    shortcomings: tuple[str, ...] = ()
    published: tuple[PublishedFigure, ...]

    def only_compared(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Returns the rows of the seeds that are compared: those of a table may be more."""
        known = {(name, seed) for name, system in self.systems.items() for seed in system.seeds}
        return predictions[pd.MultiIndex.from_frame(predictions[["system", "seed"]]).isin(known)]


def build_comparison(
    runs: pd.DataFrame,
    predictions: pd.DataFrame,
    curves: pd.DataFrame,
    ablation: pd.DataFrame,
    settings: CompareParams,
    corpus: Corpus = "ecf",
) -> Comparison:
    """Compares all systems of `predictions`, in their order; every score is computed on the same draws.

    `predictions` has a row for each system, seed, split and utterance; all systems have the same utterances in the same
    order, or ValueError is raised. `runs`, `curves` and `ablation` are tables of `tracking.runs`, with the columns
    system and seed. If experiments have different numbers of seeds, only the seeds that all have are compared. `corpus`
    is the one that all were trained and tested on.
    """
    left_out, remarks = unequal_seeds(runs, chosen=bool(settings.runs))
    runs, predictions, curves, ablation = (without(table, left_out) for table in (runs, predictions, curves, ablation))
    check_same_utterances(predictions)
    by_name = {str(name): rows for name, rows in predictions.groupby("system", sort=False)}
    counts = {name: _counts(rows, "test") for name, rows in by_name.items()}
    conversations = next(iter(counts.values())).shape[1]
    draws = (
        draw_conversations(conversations, settings.resamples, settings.seed) if conversations > 1 else np.ones((1, 1))
    )
    macro = {name: sample_score(macro_f1, of, draws) for name, of in counts.items()}
    weighted = {name: sample_score(weighted_f1, of, draws) for name, of in counts.items()}
    to_baseline = differences(macro, settings.baseline, settings.confidence)
    systems = {
        name: System(
            seeds=tuple(rows["seed"].unique().tolist()),
            validation_macro_f1=float(macro_f1(_counts(rows, "validation").sum(axis=1)).mean()),
            macro_f1=_score(macro[name], settings.confidence),
            weighted_f1=_score(weighted[name], settings.confidence),
            difference=to_baseline.get(name),
            f1_of_classes=_f1_of_classes(counts[name]),
            confusion_matrix=tuple(map(tuple, counts[name].sum(axis=(0, 1)).astype(int).tolist())),
            never_predicted=_never_predicted(counts[name]),
            calibration=_calibration(rows),
            training=_training(runs[runs["system"] == name]),
            curves=_curves(curves[curves["system"] == name]),
            modality_ablation=_ablation(ablation[ablation["system"] == name]),
        )
        for name, rows in by_name.items()
    }
    test = predictions[predictions["split"] == "test"]
    return Comparison(
        settings=settings,
        remarks=(
            *remarks,
            *of_unknown_training(runs),
            *different_settings(runs),
            *looks_at_the_test(runs),
            *unhelpful_temperatures(systems),
        ),
        test_utterances=test["utterance"].nunique(),
        test_conversations=test["conversation_id"].nunique(),
        systems=systems,
        verdict=judge(
            macro, {name: systems[name].validation_macro_f1 for name in candidates(systems)}, settings.confidence
        ),
        shortcomings=tuple(shortcomings(systems)),
        corpus=corpus,
        published=PUBLISHED[corpus],
    )


def headline_scores(comparison: Comparison) -> dict[str, dict[str, dict[str, float]]]:
    """Returns the metrics for MLflow: F1 scores of each system with intervals, and the difference to the baseline."""
    found = {}
    for name, system in comparison.systems.items():
        scores = {"macro_f1": system.macro_f1, "weighted_f1": system.weighted_f1}
        found[name] = {score: {"value": of.value, "low": of.low, "high": of.high} for score, of in scores.items()}
        if system.difference:
            found[name]["difference"] = {"value": system.difference.estimate.value, "p_holm": system.difference.p_holm}
    return found


def _counts(rows: pd.DataFrame, split: str) -> np.ndarray:
    """[seed, conversation, true, predicted]"""
    of_split = rows[rows["split"] == split]
    numbered = of_split.assign(predicted=of_split["predicted"].map(CLASS_NUMBERS)).astype(
        {"label": int, "predicted": int}
    )
    seeds = numbered.groupby("seed", sort=False)
    return np.stack([count_confusions(of["label"], of["predicted"], of["conversation_id"]) for _, of in seeds])


def _score(sampled: Sampled, confidence: float) -> Score:
    found = estimate(sampled, confidence)
    return Score(
        value=found.value,
        low=found.low,
        high=found.high,
        sd_over_seeds=float(sampled.of_seeds.std(ddof=1)) if len(sampled.of_seeds) > 1 else None,
        of_seeds=tuple(sampled.of_seeds.tolist()),
    )


def _f1_of_classes(counts: np.ndarray) -> dict[str, float]:
    f1 = f1_of_classes(counts.sum(axis=1)).mean(axis=0)
    return {emotion: float(of) for emotion, of in zip(EMOTIONS, f1, strict=True)}


def _never_predicted(counts: np.ndarray) -> dict[str, int]:
    seeds = (counts.sum(axis=(1, 2)) == 0).sum(axis=0)  # [class]
    return {emotion: int(of) for emotion, of in zip(EMOTIONS, seeds, strict=True) if of}


def _calibration(rows: pd.DataFrame) -> SystemCalibration | None:
    columns = list(PROBABILITIES)
    if (rows[columns].max(axis=1) == 1).all():
        return None
    seeds: list[Calibration] = []
    before, after, not_fitted = [], [], {}
    for _, of_seed in rows.groupby("seed", sort=False):
        validation, test = (of_seed[of_seed["split"] == split] for split in ("validation", "test"))
        labels, chances = test["label"].to_numpy(dtype=int), test[columns].to_numpy()
        seeds.append(calibrate(validation["label"].astype(int), validation[columns], scored_on=(labels, chances)))
        if reason := seeds[-1].not_fitted:
            not_fitted[int(of_seed["seed"].iloc[0])] = reason
        before.append((labels, chances))
        after.append((labels, with_temperature(chances, seeds[-1].temperature)))
    temperatures = tuple(of.temperature for of in seeds)
    return SystemCalibration(
        temperature=float(np.mean(temperatures)),
        temperature_of_seeds=temperatures,
        not_fitted=not_fitted,
        before=_mean_calibration([of.before for of in seeds], before),
        after=_mean_calibration([of.after for of in seeds], after),
    )


def _mean_calibration(
    scores: list[CalibrationScores], answers: list[tuple[np.ndarray, np.ndarray]]
) -> PooledCalibration:
    labels, chances = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    return PooledCalibration(
        expected_calibration_error=float(np.mean([of.expected_calibration_error for of in scores])),
        negative_log_likelihood=float(np.mean([of.negative_log_likelihood for of in scores])),
        reliability=TypeAdapter(tuple[ReliabilityBin, ...]).validate_python(
            reliability(labels, chances).to_dict("records")
        ),
    )


def _training(runs: pd.DataFrame) -> Training | None:
    if runs.empty:
        return None
    first, cost = runs.iloc[0], runs[["seconds", "peak_memory_gib"]].mean()
    return Training(
        run_ids=tuple(runs["run_id"]),
        imported=trained_here(runs).empty,
        modalities=first["modalities"],
        train=first["train"],
        head=first["head"],
        head_kind=first.get("head_kind", "linear"),
        lora_targets=None if pd.isna(first["lora_targets"]) else first["lora_targets"],
        trainable_parameters=int(first["trainable_parameters"]),
        seconds=None if pd.isna(cost["seconds"]) else float(cost["seconds"]),
        peak_memory_gib=None if pd.isna(cost["peak_memory_gib"]) else float(cost["peak_memory_gib"]),
    )


def _curves(rows: pd.DataFrame) -> tuple[CurvePoint, ...]:
    means = rows.assign(gap=rows["train"] - rows["validation"]).groupby("epoch")[["train", "validation", "gap"]].mean()
    return TypeAdapter(tuple[CurvePoint, ...]).validate_json(_as_json(means))


def _ablation(rows: pd.DataFrame) -> tuple[AblationRow, ...]:
    drops = {f"drop_{emotion}": emotion for emotion in EMOTIONS}
    means = rows.groupby(["modality", "change"], sort=False)[["macro_f1_drop", *drops]].mean()
    return tuple(
        AblationRow(
            modality=row["modality"],
            change=row["change"],
            macro_f1_drop=row["macro_f1_drop"],
            f1_drops={emotion: row[column] for column, emotion in drops.items()},
        )
        for row in json.loads(_as_json(means))
    )


def _as_json(table: pd.DataFrame) -> str:
    """Converts rows with their index to JSON: missing values as null, 15 decimals to hide rounding errors of means."""
    return str(table.reset_index().to_json(orient="records", double_precision=15))

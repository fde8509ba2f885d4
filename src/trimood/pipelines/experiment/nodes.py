"""Nodes of an experiment: plan, train, predict, score, calibrate, ablate, draw."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.config.parameters import ExperimentParams, LoraParams, TrainingParams, resolve
from trimood.emotions import EMOTIONS
from trimood.tracking.store import log_live

log = logging.getLogger(__name__)


def plan(
    experiment: ExperimentParams,
    training: TrainingParams,
    lora: LoraParams,
    video_checkpoint: str,
    audio_checkpoint: str,
) -> dict[str, Any]:
    """What the experiment will do: resolved settings, checkpoints, trainable and all parameters per tower.

    Raises CheckpointError or AdapterError.
    """
    from trimood.learning.experiment import plan_experiment

    settings = resolve(experiment, training, lora).model_dump(mode="json")
    planned = plan_experiment(settings, video_checkpoint, audio_checkpoint)
    for tower, row in planned["parameters"].items():
        log.info(
            "%-6s %12s of %12s parameters trained (%.2f %%)",
            tower,
            f"{row['trainable']:,}",
            f"{row['all']:,}",
            100 * row["trainable_share"],
        )
    return planned


def train(
    plan: dict[str, Any],
    training_examples: pd.DataFrame,
    validation_examples: pd.DataFrame,
    prepared_clips: Path,
    training_checkpoints: Path,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Trained tensors of the best epoch (by validation macro F1) and of the last one, and the curves.

    An interrupted training goes on from its last epoch when it is started again with the same plan and examples; one
    whose results could not be stored gives them again.
    """
    from trimood.learning.experiment import train_experiment
    from trimood.scoring.metrics import summary_scores

    trained = train_experiment(
        plan,
        training_examples,
        validation_examples,
        prepared_clips,
        training_checkpoints,
        summary_scores,
        log_live,
    )
    cost = {"seconds": trained.seconds, "peak_memory_gib": trained.peak_memory_gib}
    log_live({f"cost/{name}": value for name, value in cost.items()}, 0)
    about = {"emotions": list(EMOTIONS), "settings": plan["settings"], "checkpoints": plan["checkpoints"]}
    return (
        {"tensors": trained.fitted.best, "about": {**about, "epoch": "best"}},
        {"tensors": trained.fitted.last, "about": {**about, "epoch": "last"}},
        {"epochs": trained.fitted.history, **cost, "checkpoints": trained.folder.name},
    )


def remove_checkpoints(history: dict[str, Any], training_checkpoints: Path) -> None:
    """Frees the disk of what an interrupted training would need, once this one's results are stored."""
    from trimood.learning import experiment

    experiment.remove_checkpoints(training_checkpoints / history["checkpoints"])


log = logging.getLogger(__name__)


def predict(
    plan: dict[str, Any],
    best_weights: dict[str, Any],
    validation_examples: pd.DataFrame,
    test_examples: pd.DataFrame,
    prepared_clips: Path,
) -> pd.DataFrame:
    """One row per utterance of validation and test: split, keys, words, true and predicted emotion, probabilities."""
    from trimood.learning.prediction import probabilities
    from trimood.learning.setup import load_for_plan

    ready = load_for_plan(plan, best_weights)
    batch_size = plan["settings"]["training"]["per_device_eval_batch_size"]
    tables = []
    for split, examples in (("validation", validation_examples), ("test", test_examples)):
        rows = examples[["utterance", "conversation_id", "utterance_id", "speaker", "text", "emotion", "label"]].copy()
        rows.insert(0, "split", split)
        found = probabilities(ready.model, ready.examples(examples, prepared_clips), batch_size)
        rows["predicted"] = [EMOTIONS[number] for number in found.argmax(axis=1)]
        rows[[f"p_{emotion}" for emotion in EMOTIONS]] = found
        tables.append(rows)
    return pd.concat(tables, ignore_index=True)


def score(predictions: pd.DataFrame) -> dict[str, Any]:
    """The classification report of each split that has utterances."""
    from trimood.scoring.metrics import classification_report

    numbers = {emotion: number for number, emotion in enumerate(EMOTIONS)}
    scores = {
        str(split): classification_report(
            rows["label"].to_numpy(dtype=int), rows["predicted"].map(numbers).to_numpy(dtype=int)
        )
        for split, rows in predictions.groupby("split", sort=False)
    }
    for split, of_split in scores.items():
        log.info("%s: macro F1 %.3f, weighted F1 %.3f", split, of_split["macro_f1"], of_split["weighted_f1"])
        if of_split["never_predicted"]:
            log.warning("%s: never predicted: %s", split, ", ".join(of_split["never_predicted"]))
    return scores


def calibrate(predictions: pd.DataFrame, best_weights: dict[str, Any]) -> dict[str, Any]:
    """The temperature fitted on the validation split, what it does there, and which weights it belongs to."""
    from trimood.model.trained import weights_fingerprint
    from trimood.scoring.calibration import (
        expected_calibration_error,
        fit_temperature,
        negative_log_likelihood,
        with_temperature,
    )

    rows = predictions[predictions["split"] == "validation"]
    labels, found = rows["label"].to_numpy(dtype=int), rows[[f"p_{emotion}" for emotion in EMOTIONS]].to_numpy()
    temperature = fit_temperature(labels, found)
    calibrated = with_temperature(found, temperature)
    measures = {
        "negative_log_likelihood": negative_log_likelihood,
        "expected_calibration_error": expected_calibration_error,
    }
    changes = {
        name: {"before": measure(labels, found), "after": measure(labels, calibrated)}
        for name, measure in measures.items()
    }
    log.info("temperature %.2f, fitted on %d validation utterances", temperature, len(rows))
    return {
        "temperature": temperature,
        "weights": weights_fingerprint(best_weights["tensors"]),
        "validation": {"utterances": len(rows), **changes},
    }


def ablate(
    plan: dict[str, Any],
    best_weights: dict[str, Any],
    validation_examples: pd.DataFrame,
    test_examples: pd.DataFrame,
    prepared_clips: Path,
) -> pd.DataFrame:
    """For each split that has utterances, the table of `scoring.ablation.modality_ablation`.

    Every utterance goes through the towers once. The head is linear on embeddings that do not know of each other, so
    blanked and shuffled embeddings give exactly what the whole model gives of blanked and shuffled inputs.
    """
    from trimood.learning.prediction import embeddings, probabilities_of
    from trimood.learning.setup import load_for_plan
    from trimood.scoring.ablation import ablate_modalities

    ready = load_for_plan(plan, best_weights)
    batch_size = plan["settings"]["training"]["per_device_eval_batch_size"]
    tables = []
    for split, examples in (("validation", validation_examples), ("test", test_examples)):
        if len(examples):
            found = embeddings(ready.model, ready.examples(examples, prepared_clips), batch_size)
            labels = examples["label"].to_numpy(dtype=int)
            table = ablate_modalities(
                labels, found, lambda changed: probabilities_of(ready.model, changed).argmax(axis=1)
            )
            table.insert(0, "split", split)
            tables.append(table)
    ablation = pd.concat(tables, ignore_index=True)
    for row in ablation[ablation["change"] != "intact"].itertuples():
        log.info("%s, %s %s: macro F1 loses %.3f", row.split, row.modality, row.change, row.macro_f1_drop)
    return ablation


def draw_modality_ablation(ablate_modalities: pd.DataFrame, plan: dict[str, Any]):  # type: ignore[no-untyped-def]
    """What each emotion loses without a modality, as a matplotlib Figure."""
    from trimood.reports.figures import modality_ablation_figure

    return modality_ablation_figure(ablate_modalities, plan["title"])


def draw_confusion_matrix(scores: dict[str, Any], plan: dict[str, Any]):  # type: ignore[no-untyped-def]
    """Validation and test side by side, as a matplotlib Figure."""
    from trimood.reports.figures import confusion_figure

    return confusion_figure(scores, plan["title"])


def draw_learning_curves(history: dict[str, Any], plan: dict[str, Any]):  # type: ignore[no-untyped-def]
    """Macro F1 and loss per epoch, as a matplotlib Figure."""
    from trimood.reports.figures import learning_curves_figure

    return learning_curves_figure(history["epochs"], plan["title"])

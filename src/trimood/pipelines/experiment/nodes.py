"""Nodes of one experiment: plan, train, embed, predict, score, summarize, calibrate, ablate, draw."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import pandas as pd

from trimood.config.experiment_settings import ExperimentParams, LoraParams, LossParams, TrainingParams, resolve
from trimood.config.parameters import ClipParams, CompareParams, EmbeddingParams, flatten
from trimood.config.plan import Plan
from trimood.corpus.class_balance import loss_terms
from trimood.corpus.preparation import refuse_without_clips
from trimood.emotions import CLASS_NUMBERS, EMOTIONS, PROBABILITIES, WITHOUT, Source
from trimood.model.config import CheckpointError
from trimood.model.stored import AboutWeights, Embeddings, Epoch, RunIdentity, TrainedWeights
from trimood.scoring.metrics import Scores
from trimood.scoring.summary import RunSummary, summarize_test, summarize_validation
from trimood.tracking.live import log_live, log_now

if TYPE_CHECKING:
    from trimood.scoring.ablation import Embeddings as SplitEmbeddings

log = logging.getLogger(__name__)

SPLITS = ("validation", "test")
"""The splits that are evaluated."""


class History(TypedDict):
    """The curves of a training (a row for each epoch), and its cost."""

    epochs: list[dict[str, float]]
    seconds: float
    peak_memory_gib: float


class StoredCalibration(TypedDict):
    """A temperature, the fingerprint of its weights, and the effect on the validation split."""

    temperature: float
    weights: str
    validation: dict[str, int | dict[str, float]]


def plan(
    experiment: ExperimentParams,
    training: TrainingParams,
    lora: LoraParams,
    loss: LossParams,
    clips: ClipParams,
    video_checkpoint: str,
    audio_checkpoint: str,
    text_tower: str,
) -> Plan:
    """Plans the experiment: resolved settings, checkpoints, trainable and all parameters per tower.

    Warns if the training will not fit on the GPU. Raises CheckpointError, AdapterError or DeviceError.
    """
    from trimood.learning.experiment import plan_experiment

    settings = resolve(experiment, training, lora, loss)
    refuse_without_clips(settings, clips)
    places: Mapping[Source, str] = {"video": video_checkpoint, "audio": audio_checkpoint, "text": text_tower}
    planned = plan_experiment(settings, places, clips.reader, clips.stereo)
    for tower, count in planned.parameters.items():
        log.info(
            "%-6s %12s of %12s parameters are trained (%.2f %%)",
            tower,
            f"{count.trainable:,}",
            f"{count.all:,}",
            100 * count.trainable_share,
        )
    return planned


def identify(
    experiment: str,
    plan: Plan,
    training_examples: pd.DataFrame,
    validation_examples: pd.DataFrame,
    test_examples: pd.DataFrame,
) -> RunIdentity:
    """Returns the identity of a run of the experiment with this name. Raises CheckpointError."""
    from trimood.learning.experiment import identify_run

    return identify_run(
        experiment, plan, training=training_examples, validation=validation_examples, test=test_examples
    )


def train(
    identity: RunIdentity,
    training_examples: pd.DataFrame,
    validation_examples: pd.DataFrame,
    prepared_clips: Path,
    training_checkpoints: Path,
    embedding_cache: Path,
    embeddings: EmbeddingParams,
) -> tuple[TrainedWeights, TrainedWeights, History]:
    """Returns the trained weights of the best epoch (by validation macro F1) and of the last, and the history.

    An interrupted training continues from its last epoch if it is started again with the same identity. A
    finished training whose results could not be stored returns them without training again. Raises AbsentEmotion.
    """
    from torch import Tensor

    from trimood.learning.embeddings import EmbeddingCache
    from trimood.learning.experiment import train_experiment
    from trimood.model.trained import weights_fingerprint
    from trimood.scoring.metrics import summary_scores

    if terms := loss_terms(identity.plan.settings.loss, training_examples["label"]).described():
        log_now(params=flatten({"loss": terms}))
    outcome = train_experiment(
        identity,
        training_examples,
        validation_examples,
        prepared_clips,
        training_checkpoints,
        EmbeddingCache(embedding_cache, embeddings.cache_gigabytes),
        summary_scores,
        log_live,
    )
    log_now({"training cost/seconds": outcome.seconds, "training cost/peak_memory_gib": outcome.peak_memory_gib})
    both: dict[Epoch, Mapping[str, Tensor]] = {"best": outcome.fitted.best, "last": outcome.fitted.last}
    best, last = (
        TrainedWeights(
            AboutWeights(identity=identity, epoch=epoch, fingerprint=weights_fingerprint(tensors)),
            tensors,
        )
        for epoch, tensors in both.items()
    )
    history: History = {
        "epochs": outcome.fitted.history,
        "seconds": outcome.seconds,
        "peak_memory_gib": outcome.peak_memory_gib,
    }
    return best, last, history


def embed(
    identity: RunIdentity,
    best_weights: TrainedWeights,
    validation_examples: pd.DataFrame,
    test_examples: pd.DataFrame,
    prepared_clips: Path,
    embedding_cache: Path,
    embeddings: EmbeddingParams,
) -> Embeddings:
    """Embeds all validation and test utterances in one pass of the trained towers; frozen ones, if not done before.

    Raises CheckpointError if the weights are of another run or of other examples.
    """
    from trimood.learning.embeddings import EmbeddingCache
    from trimood.learning.prediction import embed_splits
    from trimood.learning.setup import load_for_plan

    tables = dict(zip(SPLITS, (validation_examples, test_examples), strict=True))
    best_weights.check_identity(identity)
    identity.check_examples(**tables)
    return embed_splits(
        load_for_plan(identity.plan, best_weights),
        tables,
        prepared_clips,
        EmbeddingCache(embedding_cache, embeddings.cache_gigabytes),
        best_weights.about,
    )


def predict(
    embeddings: Embeddings, best_weights: TrainedWeights, validation_examples: pd.DataFrame, test_examples: pd.DataFrame
) -> pd.DataFrame:
    """Returns a row per validation and test utterance: split, keys, text, true and predicted emotion, probabilities.

    For each modality of the model, a column of WITHOUT says what remains of the predicted emotion's probability if the
    modality is blanked for this utterance, as `ablate` does it for all.
    """
    from trimood.learning.prediction import head_probabilities, stored_head

    tables = []
    for split, examples in zip(SPLITS, (validation_examples, test_examples), strict=True):
        best_weights.about.identity.check_examples(**{split: examples})
        rows = examples[["utterance", "conversation_id", "utterance_id", "speaker", "text", "emotion", "label"]].copy()
        rows.insert(0, "split", split)
        of_split = embeddings.of(split, best_weights)
        head, batch_size = stored_head(best_weights, of_split), _batch_size(best_weights)
        found = head_probabilities(head, of_split, batch_size)
        rows["predicted"] = [EMOTIONS[number] for number in found.argmax(axis=1)]
        rows[list(PROBABILITIES)] = found
        for modality, own in of_split.items():
            blanked = head_probabilities(head, {**of_split, modality: np.zeros_like(own)}, batch_size)
            rows[WITHOUT[modality]] = blanked[np.arange(len(found)), found.argmax(axis=1)]
        tables.append(rows)
    predictions = pd.concat(tables, ignore_index=True)
    predictions.attrs["weights"] = best_weights.about.fingerprint  # kept in the Parquet file
    return predictions


def score(predictions: pd.DataFrame) -> Scores:
    """Returns the classification report of each split that has utterances."""
    from trimood.scoring.metrics import classification_report

    scores = {
        str(split): classification_report(
            rows["label"].to_numpy(dtype=int), rows["predicted"].map(CLASS_NUMBERS).to_numpy(dtype=int)
        )
        for split, rows in predictions.groupby("split", sort=False)
    }
    for split, of_split in scores.items():
        log.info("%s: macro F1 %.3f, weighted F1 %.3f", split, of_split["macro_f1"], of_split["weighted_f1"])
        if of_split["never_predicted"]:
            log.warning("%s: never predicted: %s", split, ", ".join(of_split["never_predicted"]))
    return scores


def summarize(
    identity: RunIdentity,
    predictions: pd.DataFrame,
    compare: CompareParams,
    training_examples: pd.DataFrame | None = None,
    excluded_clips: pd.DataFrame | None = None,
) -> RunSummary:
    """Returns the run in a few numbers: its test score with an interval, beside TF-IDF if there are training examples.

    `excluded_clips`: the table of all splits, whose policies are counted.
    """
    plan = identity.plan
    return RunSummary(
        experiment=identity.experiment,
        seed=plan.settings.training.seed,
        imported=identity.imported is not None,
        trained=plan.title,
        confidence=compare.confidence,
        validation_macro_f1=summarize_validation(predictions),
        test=summarize_test(predictions, compare, training_examples),
        excluded=None if excluded_clips is None else dict(Counter(excluded_clips["policy"])),
    )


def calibrate(predictions: pd.DataFrame, best_weights: TrainedWeights) -> StoredCalibration:
    """Fits the temperature on the validation split, and scores the effect there.

    Raises CheckpointError if the predictions are of other weights.
    """
    from trimood.scoring import calibration

    _check_predictions(predictions, best_weights)
    rows = predictions[predictions["split"] == "validation"]
    found = calibration.calibrate(rows["label"].to_numpy(dtype=int), rows[list(PROBABILITIES)].to_numpy())
    if found.not_fitted:
        log.warning("the temperature is 1, which changes nothing: of the validation split, %s", found.not_fitted)
    else:
        log.info("temperature %.2f, fitted on %d validation utterances", found.temperature, len(rows))
    before, after = found.before.model_dump(), found.after.model_dump()
    changes = {measure: {"before": before[measure], "after": after[measure]} for measure in before}
    return {
        "temperature": found.temperature,
        "weights": best_weights.about.fingerprint,
        "validation": {"utterances": len(rows), **changes},
    }


def judge_calibration(predictions: pd.DataFrame) -> str:
    """Returns what the temperature does to the test split, in words for a tag in MLflow; logs it if it is worse."""
    from trimood.scoring import calibration

    validation, test = (
        (rows["label"].to_numpy(dtype=int), rows[list(PROBABILITIES)].to_numpy())
        for rows in (predictions[predictions["split"] == split] for split in SPLITS)
    )
    if not len(test[0]):
        return "not measured: the test split has no utterances"
    found = calibration.calibrate(*validation, scored_on=test)
    if found.not_fitted:
        return f"temperature 1, which changes nothing: of the validation split, {found.not_fitted}"
    if worse := calibration.made_worse(found.before, found.after):
        log.warning("the temperature makes the test split worse: %s", worse)
        return f"worse on the test split: {worse}"
    return "better or equal on the test split"


def ablate(embeddings: Embeddings, best_weights: TrainedWeights, predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns the table of `scoring.ablation.ablate_modalities` for each split that has utterances.

    Only the head combines modalities, so blanking or shuffling embeddings or states gives exactly the same predictions
    as blanking or shuffling the inputs of the whole model, for every kind of head. Raises CheckpointError if the
    predictions or embeddings are of other weights.
    """
    from trimood.learning.prediction import head_probabilities, stored_head
    from trimood.scoring.ablation import ablate_modalities

    _check_predictions(predictions, best_weights)
    head = stored_head(best_weights, next(iter(embeddings.splits.values())))
    batch_size = _batch_size(best_weights)

    def classes(changed: "SplitEmbeddings") -> np.ndarray:
        return head_probabilities(head, changed, batch_size).argmax(axis=1)

    tables = []
    for split, rows in predictions.groupby("split", sort=False):
        table = ablate_modalities(rows["label"].to_numpy(dtype=int), embeddings.of(str(split), best_weights), classes)
        table.insert(0, "split", split)
        tables.append(table)
    ablation = pd.concat(tables, ignore_index=True)
    for row in ablation[ablation["change"] != "intact"].itertuples():
        log.info("%s, %s %s: macro F1 drops by %.3f", row.split, row.modality, row.change, row.macro_f1_drop)
    return ablation


def draw_modality_ablation(modality_ablation: pd.DataFrame, plan: Plan):  # type: ignore[no-untyped-def]
    """Draws the drop of each emotion's F1 without a modality, as a matplotlib Figure."""
    from trimood.reports.figures import modality_ablation_figure

    return modality_ablation_figure(modality_ablation, plan.title)


def draw_confusion_matrix(scores: Scores, plan: Plan):  # type: ignore[no-untyped-def]
    """Draws validation and test side by side, as a matplotlib Figure."""
    from trimood.reports.figures import confusion_figure

    return confusion_figure(scores, plan.title)


def draw_learning_curves(history: History, plan: Plan):  # type: ignore[no-untyped-def]
    """Draws macro F1 and loss per epoch, as a matplotlib Figure."""
    from trimood.reports.figures import learning_curves_figure

    return learning_curves_figure(history["epochs"], plan.title)


def _check_predictions(predictions: pd.DataFrame, weights: TrainedWeights) -> None:
    if predictions.attrs.get("weights") != weights.about.fingerprint:
        raise CheckpointError(
            "the stored predictions are those of other weights than the stored ones. Predict again: kedro run "
            "--pipelines=NAME --from-nodes=NAME.predict"
        )


def _batch_size(weights: TrainedWeights) -> int:
    return weights.about.plan.settings.training.per_device_eval_batch_size

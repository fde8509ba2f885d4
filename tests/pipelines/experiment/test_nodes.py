"""The evaluation stage's nodes on a real, tiny model."""

import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from support.learning_examples import (
    CLIPS,
    EMBEDDINGS,
    TRAINING,
    example_table,
    lora,
    tiny_identity,
    tiny_model,
    tiny_plan,
    tiny_weights,
)
from trimood.config.experiment_settings import ExperimentParams, LossParams, Train
from trimood.config.parameters import CompareParams
from trimood.corpus.preparation import ClipsNotInUse
from trimood.emotions import EMOTIONS, PROBABILITIES, WITHOUT, Modality, Source
from trimood.model.classifier import EmotionClassifier
from trimood.model.config import CheckpointError
from trimood.model.stored import Embeddings, TrainedWeights
from trimood.model.trained import trained_state, weights_fingerprint
from trimood.pipelines.experiment.nodes import (
    ablate,
    calibrate,
    draw_modality_ablation,
    embed,
    judge_calibration,
    plan,
    predict,
    score,
    summarize,
    train,
)

THREE = ("text", "video", "audio")


def stage_inputs(
    sources: dict[Source, str],
    modalities: tuple[Modality, ...],
    validation: pd.DataFrame,
    test: pd.DataFrame,
    train: Train = "head",
) -> TrainedWeights:
    """Weights of a model whose embeddings tell it apart what its head makes of them."""
    model = tiny_model(sources, train=train, modalities=modalities).model
    with torch.no_grad():
        model.head.weight.mul_(5)
    plan = tiny_plan(sources, train=train, modalities=modalities)
    return tiny_weights(plan, trained_state(model), validation, test)


def evaluated(
    sources: dict[Source, str],
    modalities: tuple[Modality, ...],
    prepared_clips: Path,
    *tables: pd.DataFrame,
    train: Train = "head",
) -> tuple[Embeddings, TrainedWeights, pd.DataFrame]:
    """What `embed` and `predict` make of a validation and a test table."""
    weights = stage_inputs(sources, modalities, *tables, train)
    with tempfile.TemporaryDirectory() as cache:
        embeddings = embed(weights.about.identity, weights, *tables, prepared_clips, Path(cache), EMBEDDINGS)
    return embeddings, weights, predict(embeddings, weights, *tables)


def splits() -> tuple[pd.DataFrame, pd.DataFrame]:
    whole = example_table(21).assign(conversation_id=1, utterance_id=range(21), speaker="Ross")
    return whole.iloc[:14], whole.iloc[14:]


@pytest.mark.slow
def test_the_ablation_starts_from_the_scores_of_the_stored_predictions_and_names_each_modality(
    sources, prepared_clips, caplog
) -> None:
    found = evaluated(sources, THREE, prepared_clips, *splits())
    scores = score(found[2])
    with caplog.at_level(logging.INFO, logger="trimood"):
        ablation = ablate(*found)
    assert ablation.groupby("split", sort=False).size().to_dict() == {"validation": 7, "test": 7}
    for row in ablation[ablation["change"] == "intact"].itertuples():
        assert row.macro_f1 == pytest.approx(scores[row.split]["macro_f1"])
        per_class = {emotion: getattr(row, f"f1_{emotion}") for emotion in EMOTIONS}
        assert per_class == pytest.approx({k: v["f1"] for k, v in scores[row.split]["per_class"].items()})
    changed = ablation[ablation["change"] != "intact"]
    assert list(changed["modality"].unique()) == ["video", "audio", "text"]
    assert changed["macro_f1_drop"].abs().max() > 0
    first = changed.iloc[0]
    assert f"validation, video blanked: macro F1 drops by {first['macro_f1_drop']:.3f}" in caplog.text


@pytest.mark.slow
def test_a_modality_blanked_in_the_table_is_that_modality_absent_for_all(sources, prepared_clips) -> None:
    validation, test = (split.assign(has_audio=False) for split in splits())
    without = score(evaluated(sources, THREE, prepared_clips, validation, test)[2])
    ablation = ablate(*evaluated(sources, THREE, prepared_clips, *splits())).set_index(["split", "modality", "change"])
    for split in ("validation", "test"):
        assert ablation.loc[(split, "audio", "blanked"), "macro_f1"] == pytest.approx(without[split]["macro_f1"])


@pytest.mark.slow
def test_what_remains_of_an_answer_without_a_modality_is_that_of_its_absence(sources, prepared_clips) -> None:
    validation, test = (split.assign(has_audio=False) for split in splits())
    whole = evaluated(sources, THREE, prepared_clips, *splits())[2]
    without = evaluated(sources, THREE, prepared_clips, validation, test)[2]
    of_answers = without[list(PROBABILITIES)].to_numpy()[np.arange(len(whole)), whole["predicted"].map(EMOTIONS.index)]
    assert whole[WITHOUT["audio"]].to_numpy() == pytest.approx(of_answers, abs=1e-6)
    assert (whole[WITHOUT["audio"]] - whole[list(PROBABILITIES)].max(axis=1)).abs().max() > 0.01


@pytest.mark.slow
def test_a_split_without_utterances_is_left_out_and_one_modality_can_be_measured(sources, prepared_clips) -> None:
    validation, test = splits()
    ablation = ablate(*evaluated(sources, ("text",), prepared_clips, validation, test.iloc[:0]))
    assert list(ablation["change"]) == ["intact", "blanked", "shuffled"]
    # Of equal probabilities the first is named: two of fourteen are surprise.
    assert ablation.loc[1, "f1_surprise"] == pytest.approx(2 * 2 / (2 + 14))
    assert ablation.loc[1, [f"f1_{emotion}" for emotion in EMOTIONS[1:]]].sum() == 0
    figure = draw_modality_ablation(ablation, tiny_plan(sources, train="head", modalities=("text",)))
    assert np.isfinite([float(text.get_text()) for text in figure.axes[0].texts]).all()


@pytest.mark.slow
def test_the_temperature_is_fitted_on_validation_alone_and_belongs_to_its_weights(sources, prepared_clips) -> None:
    _, weights, predictions = evaluated(sources, THREE, prepared_clips, *splits())
    calibration = calibrate(predictions, weights)
    other_test = predictions.assign(label=predictions["label"].where(predictions["split"] == "validation", 0))
    assert calibrate(other_test, weights) == calibration
    other_validation = predictions.assign(label=predictions["label"].where(predictions["split"] == "test", 0))
    assert calibrate(other_validation, weights)["temperature"] != pytest.approx(calibration["temperature"])
    loss = calibration["validation"]["negative_log_likelihood"]
    assert loss["after"] < loss["before"]
    assert calibration["validation"]["utterances"] == 14
    assert calibration["weights"] == weights_fingerprint(weights.tensors)
    moved = {name: tensor + 1e-6 for name, tensor in weights.tensors.items()}
    assert weights_fingerprint(moved) != calibration["weights"]


@pytest.mark.slow
def test_other_examples_than_those_of_the_training_are_refused_by_name(sources, prepared_clips, tmp_path) -> None:
    validation, test = splits()
    weights = stage_inputs(sources, THREE, validation, test)
    with pytest.raises(
        CheckpointError, match=r"the validation examples are not those that this training and its weights belong to"
    ):
        embed(weights.about.identity, weights, test, test, prepared_clips, tmp_path, EMBEDDINGS)
    embeddings = embed(weights.about.identity, weights, validation, test, prepared_clips, tmp_path, EMBEDDINGS)
    with pytest.raises(CheckpointError, match=r"the test examples are not those"):
        predict(embeddings, weights, validation, validation)
    others = stage_inputs(sources, ("text",), validation, test)
    with pytest.raises(CheckpointError, match=r"embeddings are those of other weights"):
        predict(embeddings, others, validation, test)


def test_checkpoints_that_were_replaced_under_a_training_are_refused_by_name(sources, prepared_clips, tmp_path) -> None:
    copies = {source: str(shutil.copytree(place, tmp_path / source)) for source, place in sources.items()}
    weights = stage_inputs(copies, ("text",), *splits())
    with (tmp_path / "video" / "config.json").open("a") as file:
        file.write("\n")
    identity, refused = weights.about.identity, r"video: not the video checkpoint that exp3 was trained with"
    with pytest.raises(CheckpointError, match=refused):
        embed(identity, weights, *splits(), prepared_clips, tmp_path, EMBEDDINGS)
    with pytest.raises(CheckpointError, match=refused):
        train(identity, example_table(0), splits()[0], prepared_clips, tmp_path, tmp_path, EMBEDDINGS)


@pytest.mark.slow
def test_predictions_of_other_weights_are_neither_calibrated_nor_ablated(sources, prepared_clips, tmp_path) -> None:
    embeddings, weights, predictions = evaluated(sources, ("text",), prepared_clips, *splits())
    predictions.to_parquet(tmp_path / "predictions.parquet")
    stored = pd.read_parquet(tmp_path / "predictions.parquet")
    assert calibrate(stored, weights) == calibrate(predictions, weights)
    others = stage_inputs(sources, ("text", "video"), *splits())
    with pytest.raises(CheckpointError, match=r"predictions are those of other weights.*--from-nodes=NAME\.predict"):
        calibrate(stored, others)
    stored.attrs.clear()
    with pytest.raises(CheckpointError, match="predictions are those of other weights"):
        ablate(embeddings, weights, stored)


@pytest.mark.slow
def test_each_utterance_goes_through_the_towers_once_after_training(sources, prepared_clips, monkeypatch) -> None:
    passes: list[int] = []
    whole = EmotionClassifier.embed_input

    def counted(self: EmotionClassifier, modality: Modality, value: Tensor) -> Tensor:
        passes.append(len(value))
        return whole(self, modality, value)

    monkeypatch.setattr(EmotionClassifier, "embed_input", counted)
    found = evaluated(sources, THREE, prepared_clips, *splits(), train="everything")
    score(found[2])
    calibrate(found[2], found[1])
    ablate(*found)
    assert sum(passes) == 3 * (14 + 7)


def made_answers(confidence: float, right_on_validation: int, right_on_test: int) -> pd.DataFrame:
    """Twenty answers of a split, so many of them right, all with this confidence."""
    tables = []
    for split, right in (("validation", right_on_validation), ("test", right_on_test)):
        answers = np.arange(20) % 7
        labels = np.where(np.arange(20) < right, answers, (answers + 1) % 7)
        rows = pd.DataFrame({"split": split, "label": labels})
        rows[list(PROBABILITIES)] = (1 - confidence) / 6 + (confidence - (1 - confidence) / 6) * np.eye(7)[answers]
        tables.append(rows)
    return pd.concat(tables, ignore_index=True)


def test_what_the_temperature_does_to_the_test_split_is_said(caplog) -> None:
    assert judge_calibration(made_answers(0.95, 10, 10)) == "better or equal on the test split"
    assert not caplog.messages
    words = judge_calibration(made_answers(0.95, 10, 19))  # cooled to 0.5, where 0.95 were right
    assert words == "worse on the test split: ECE 0.000 to 0.450, NLL 0.288 to 0.783"
    assert "the temperature makes the test split worse: ECE 0.000 to 0.450" in caplog.text
    assert judge_calibration(made_answers(0.95, 10, 10).query("split == 'validation'")).startswith("not measured")


@pytest.mark.slow
def test_a_temperature_that_cannot_be_fitted_is_said(sources, prepared_clips, caplog) -> None:
    answers = made_answers(0.4, 20, 20)
    reason = "of the validation split, all answers are right, so more confidence would always fit better"
    assert judge_calibration(answers) == f"temperature 1, which changes nothing: {reason}"
    weights = evaluated(sources, THREE, prepared_clips, *splits())[1]
    answers.attrs["weights"] = weights.about.fingerprint
    assert calibrate(answers, weights)["temperature"] == 1
    assert f"the temperature is 1, which changes nothing: {reason}" in caplog.text


def test_without_clips_an_experiment_on_clips_is_refused_before_a_checkpoint_is_looked_for() -> None:
    no_clips = CLIPS.model_copy(update={"in_use": False})
    experiment = ExperimentParams(modalities=("text", "video", "audio"), train="head")
    with pytest.raises(ClipsNotInUse, match=r"needs video and audio, and data\.clips\.in_use is false.*such as exp12"):
        plan(experiment, TRAINING, lora("q_proj"), LossParams(), no_clips, "no/video", "no/audio", "no/text")


def test_text_alone_is_planned_without_clips_or_languagebind(encoder_folder: Path) -> None:
    no_clips = CLIPS.model_copy(update={"in_use": False})
    experiment = ExperimentParams(modalities=("text",), text_tower="encoder", train="lora")
    places = ("no/video", "no/audio", str(encoder_folder))
    planned = plan(experiment, TRAINING, lora("q_proj"), LossParams(), no_clips, *places)
    assert planned.checkpoints == {"text": str(encoder_folder)}
    assert planned.title == "text, text encoder, LoRA r=16 on all-linear, head trained"
    with pytest.raises(CheckpointError, match="text_tower=no/such/text: no such folder"):
        plan(experiment, TRAINING, lora("q_proj"), LossParams(), no_clips, "no/video", "no/audio", "no/such/text")


def test_a_run_is_summarized_by_its_identity_its_predictions_and_what_was_left_out(sources) -> None:
    examples = example_table(21)
    rows = {"conversation_id": np.arange(21) % 3, "predicted": examples["emotion"]}
    predictions = pd.concat([examples.assign(split=split, **rows) for split in ("validation", "test")])
    excluded = pd.DataFrame({"policy": ["drop", "blank", "drop"]})
    compare = CompareParams(baseline="exp1", resamples=100, confidence=0.95, seed=0, runs=())
    identity = tiny_identity(tiny_plan(sources, train="head"))
    found = summarize(identity, predictions, compare, examples, excluded)
    assert (found.experiment, found.seed, found.imported) == ("exp3", TRAINING.seed, False)
    assert found.excluded == {"drop": 2, "blank": 1}
    assert found.test is not None
    assert (found.validation_macro_f1, found.test.macro_f1.value) == (1, 1)
    assert found.test.tfidf is not None
    of_imported = summarize(identity, predictions, compare)
    assert of_imported.excluded is None
    assert of_imported.test is not None
    assert of_imported.test.tfidf is None

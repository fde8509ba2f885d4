"""The evaluation stage's nodes on a real, tiny model."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from support.learning_examples import example_table, ready, settings
from trimood.emotions import EMOTIONS
from trimood.model.trained import trained_state, weights_fingerprint
from trimood.pipelines.experiment.nodes import ablate, calibrate, draw_modality_ablation, predict, score

THREE = ("text", "video", "audio")


def stage_inputs(sources: dict[str, str], modalities: tuple[str, ...]) -> tuple[dict, dict]:
    """Plan and weights of a model whose embeddings tell it apart what its head makes of them."""
    wanted = settings("head", modalities)
    wanted["training"] |= {"per_device_eval_batch_size": 8}
    used = {name: sources[name] for name in ("video", "audio") if name in modalities} or {"video": sources["video"]}
    model = ready(sources, train="head", modalities=modalities).model
    with torch.no_grad():
        model.head.weight.mul_(5)
    return {"title": "tiny", "settings": wanted, "checkpoints": used}, {
        "tensors": trained_state(model),
        "about": {"settings": wanted, "checkpoints": used},
    }


def splits() -> tuple[pd.DataFrame, pd.DataFrame]:
    whole = example_table(21).assign(conversation_id=1, utterance_id=range(21), speaker="Ross")
    return whole.iloc[:14], whole.iloc[14:]


def test_worth_starts_from_the_scores_of_the_stored_predictions_and_names_each_modality(
    sources, prepared_clips, caplog
) -> None:
    plan, weights = stage_inputs(sources, THREE)
    scores = score(predict(plan, weights, *splits(), prepared_clips))
    with caplog.at_level(logging.INFO, logger="trimood"):
        ablation = ablate(plan, weights, *splits(), prepared_clips)
    assert ablation.groupby("split", sort=False).size().to_dict() == {"validation": 7, "test": 7}
    for row in ablation[ablation["change"] == "intact"].itertuples():
        assert row.macro_f1 == pytest.approx(scores[row.split]["macro_f1"])
        per_class = {emotion: getattr(row, f"f1_{emotion}") for emotion in EMOTIONS}
        assert per_class == pytest.approx({k: v["f1"] for k, v in scores[row.split]["per_class"].items()})
    changed = ablation[ablation["change"] != "intact"]
    assert list(changed["modality"].unique()) == ["video", "audio", "text"]
    assert changed["macro_f1_drop"].abs().max() > 0
    first = changed.iloc[0]
    assert f"validation, video blanked: macro F1 loses {first['macro_f1_drop']:.3f}" in caplog.text


def test_a_modality_blanked_in_the_table_is_that_modality_absent_for_all(sources, prepared_clips) -> None:
    plan, weights = stage_inputs(sources, THREE)
    validation, test = (split.assign(has_audio=False) for split in splits())
    without = score(predict(plan, weights, validation, test, prepared_clips))
    ablation = ablate(plan, weights, *splits(), prepared_clips).set_index(["split", "modality", "change"])
    for split in ("validation", "test"):
        assert ablation.loc[(split, "audio", "blanked"), "macro_f1"] == pytest.approx(without[split]["macro_f1"])


def test_a_split_without_utterances_is_left_out_and_one_modality_can_be_measured(sources, prepared_clips) -> None:
    plan, weights = stage_inputs(sources, ("text",))
    validation, test = splits()
    ablation = ablate(plan, weights, validation, test.iloc[:0], prepared_clips)
    assert list(ablation["change"]) == ["intact", "blanked", "shuffled"]
    # Of equal probabilities the first is named: two of fourteen are surprise.
    assert ablation.loc[1, "f1_surprise"] == pytest.approx(2 * 2 / (2 + 14))
    assert ablation.loc[1, [f"f1_{emotion}" for emotion in EMOTIONS[1:]]].sum() == 0
    figure = draw_modality_ablation(ablation, plan)
    assert np.isfinite([float(text.get_text()) for text in figure.axes[0].texts]).all()


def test_the_temperature_is_fitted_on_validation_alone_and_belongs_to_its_weights(sources, prepared_clips) -> None:
    plan, weights = stage_inputs(sources, THREE)
    predictions = predict(plan, weights, *splits(), prepared_clips)
    calibration = calibrate(predictions, weights)
    other_test = predictions.assign(label=predictions["label"].where(predictions["split"] == "validation", 0))
    assert calibrate(other_test, weights) == calibration
    other_validation = predictions.assign(label=predictions["label"].where(predictions["split"] == "test", 0))
    assert calibrate(other_validation, weights)["temperature"] != pytest.approx(calibration["temperature"])
    loss = calibration["validation"]["negative_log_likelihood"]
    assert loss["after"] < loss["before"]
    assert calibration["validation"]["utterances"] == 14
    assert calibration["weights"] == weights_fingerprint(weights["tensors"])
    moved = {name: tensor + 1e-6 for name, tensor in weights["tensors"].items()}
    assert weights_fingerprint(moved) != calibration["weights"]

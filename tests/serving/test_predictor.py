"""Utterances of one's own are predicted as evaluation predicts them, and what cannot be is named."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from support.learning_examples import tiny_model
from support.made_encoders import change
from support.made_media import make_clip
from support.trained_experiments import TEMPERATURE, write_trained
from trimood.emotions import EMOTIONS
from trimood.learning.prediction import probabilities
from trimood.media.audio import log_mel, read_waveform
from trimood.media.cache import prepare_clips
from trimood.media.execution import Execution
from trimood.media.video import read_frames
from trimood.model.checkpoints import clip_recipe
from trimood.model.config import CheckpointError
from trimood.model.stored import read_weights
from trimood.model.trained import load_trained_state
from trimood.scoring.calibration import with_temperature
from trimood.serving.predictor import Prediction, Predictor, Refusal, Utterance, load_predictor
from trimood.serving.preparation import cut_spans

THREE = ("text", "video", "audio")


@pytest.fixture(scope="module")
def predictor(trained_folder: Path) -> Predictor:
    return load_predictor("exp6_head", trained_folder)


@pytest.mark.slow
def test_the_probabilities_are_those_of_evaluation_to_the_bit(
    predictor: Predictor, sources: dict[str, str], trained_folder: Path, clips: Path, tmp_path: Path
) -> None:
    whole = clips / "whole.mp4"
    prepared = prepare_clips({"a": whole}, clip_recipe(sources, "pyav", "mean"), tmp_path, Execution("serial"))
    table = pd.DataFrame({"text": ["so much joy !"], "label": [4], "part": [str(prepared.parts["a"])]})
    evaluated = tiny_model(sources, train="head", modalities=THREE)
    untrained = probabilities(evaluated.model, evaluated.examples(table, tmp_path), 8)
    load_trained_state(evaluated.model, read_weights(trained_folder / "exp6_head" / "best.safetensors").tensors)
    wanted = probabilities(evaluated.model, evaluated.examples(table, tmp_path), 8)
    (found,) = predictor.predict([Utterance(whole, "so much joy !")])
    assert isinstance(found, Prediction)
    assert list(found.probabilities) == list(EMOTIONS)
    assert list(found.probabilities.values()) == wanted[0].tolist()
    assert found.emotion == EMOTIONS[wanted[0].argmax()]
    assert found.absent == {}
    assert list(found.calibrated.values()) == with_temperature(wanted, TEMPERATURE)[0].tolist()
    assert max(found.calibrated.values()) < max(found.probabilities.values())  # a temperature above 1 is less sure
    assert np.abs(untrained - wanted).max() > 1e-3


def test_a_model_that_attends_to_tokens_and_frames_predicts_as_evaluation_does(
    sources: dict[str, str], clips: Path, tmp_path: Path
) -> None:
    head = {"kind": "attention", "heads": 3}
    folder = write_trained(tmp_path / "exp7", sources, ("text", "video"), head=head)
    whole = clips / "whole.mp4"
    prepared = prepare_clips({"a": whole}, clip_recipe(sources, "pyav", "mean"), tmp_path, Execution("serial"))
    table = pd.DataFrame({"text": ["so much joy !", ""], "part": [str(prepared.parts["a"])] * 2})
    evaluated = tiny_model(sources, train="head", head=head)
    load_trained_state(evaluated.model, read_weights(folder / "best.safetensors").tensors)
    found = load_predictor("exp7", tmp_path).predict([Utterance(whole, "so much joy !"), Utterance(whole, "")])
    wanted = probabilities(evaluated.model, evaluated.examples(table, tmp_path), 8)
    assert [[*one.probabilities.values()] for one in found if isinstance(one, Prediction)] == wanted.tolist()
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3


HEADS: list[object] = [
    "trained",
    {"kind": "mlp", "hidden": 8},
    {"kind": "gated", "hidden": 8},
    {"kind": "attention", "heads": 3},
]


@pytest.mark.parametrize("head", HEADS, ids=["linear", "mlp", "gated", "attention"])
def test_without_a_modality_a_prediction_is_what_it_would_be_if_that_were_absent(
    sources: dict[str, str], clips: Path, tmp_path: Path, head: object
) -> None:
    write_trained(tmp_path / "exp7", sources, ("text", "video"), head=head)
    whole = clips / "whole.mp4"
    given = [Utterance(whole, "so much joy !"), Utterance(whole, ""), Utterance(None, "so much joy !")]
    found, silent, blind = load_predictor("exp7", tmp_path).predict(given)
    assert isinstance(found, Prediction)
    assert isinstance(silent, Prediction)
    assert isinstance(blind, Prediction)
    assert found.without["text"] == pytest.approx(silent.calibrated, abs=1e-6)
    assert found.without["video"] == pytest.approx(blind.calibrated, abs=1e-6)
    assert silent.calibrated != pytest.approx(blind.calibrated, abs=1e-3)
    assert (silent.without, blind.without) == ({}, {})


def test_a_span_is_predicted_as_the_clip_that_is_cut_from_it(predictor: Predictor, tmp_path: Path) -> None:
    long = make_clip(tmp_path / "long.mp4", seconds=2.0)
    spans = pd.DataFrame({"utterance": ["a"], "clip": [str(long)]})
    spans[["start_milliseconds", "end_milliseconds"]] = [[500, 1500]]
    cut, _ = cut_spans(spans, tmp_path / "cut", Execution("serial"))
    given = [
        Utterance(long, "Hi .", "span", span=(500, 1500)),
        Utterance(Path(cut["clip"].iloc[0]), "Hi .", "cut"),
        Utterance(long, "Hi .", "whole"),
        Utterance(long, "Hi .", "beyond", span=(5000, 6000)),
    ]
    span, of_cut, whole, beyond = predictor.predict(given)
    assert isinstance(span, Prediction)
    assert isinstance(of_cut, Prediction)
    assert isinstance(whole, Prediction)
    assert span.probabilities == of_cut.probabilities != whole.probabilities
    assert isinstance(beyond, Refusal)
    assert (beyond.name, beyond.reason.partition(":")[0]) == ("beyond", "beyond the end")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_prediction_shows_what_the_model_was_given(
    predictor: Predictor, sources: dict[str, str], clips: Path
) -> None:
    (found,) = predictor.predict([Utterance(clips / "whole.mp4", "Hi .", "mine")])
    assert isinstance(found, Prediction)
    assert (found.name, found.text) == ("mine", "Hi .")
    recipe = clip_recipe(sources, "pyav", "mean")
    assert found.frames is not None
    assert torch.equal(found.frames, read_frames(clips / "whole.mp4", recipe.video))
    waveform = read_waveform(clips / "whole.mp4", recipe.audio.sample_rate_hz)
    assert found.log_mel is not None
    assert torch.equal(found.log_mel, log_mel(waveform, recipe.audio))


def test_what_is_absent_is_said_with_the_reason(predictor: Predictor, clips: Path) -> None:
    mute, wordless, clipless = predictor.predict(
        [Utterance(clips / "mute.mp4", "Hi ."), Utterance(clips / "whole.mp4", " "), Utterance(None, "Hi .")]
    )
    assert isinstance(mute, Prediction)
    assert mute.absent == {"audio": "no audio track"}
    assert mute.log_mel is None
    assert mute.frames is not None
    assert isinstance(wordless, Prediction)
    assert wordless.absent == {"text": "no words"}
    assert isinstance(clipless, Prediction)
    assert clipless.absent == {"video": "no clip", "audio": "no clip"}
    assert (clipless.frames, clipless.log_mel) == (None, None)


def test_a_modality_that_the_model_does_not_read_is_not_missed(trained_folder: Path, clips: Path) -> None:
    (mute,) = load_predictor("exp3", trained_folder).predict([Utterance(clips / "mute.mp4", "Hi .")])
    assert isinstance(mute, Prediction)
    assert mute.absent == {}


def test_a_bad_clip_is_named_and_costs_only_itself(predictor: Predictor, clips: Path) -> None:
    bad, good, missing, empty = predictor.predict(
        [
            Utterance(clips / "broken.mp4", "Hi .", "broken"),
            Utterance(clips / "whole.mp4", "Hi .", "good"),
            Utterance(clips / "nowhere.mp4", "Hi .", "nowhere"),
            Utterance(None, "", "empty"),
        ]
    )
    assert isinstance(bad, Refusal)
    assert bad.name == "broken"
    assert bad.reason.startswith("unreadable: ")
    assert isinstance(missing, Refusal)
    assert missing.reason.startswith("missing: ")
    assert isinstance(empty, Refusal)
    assert empty.reason == (
        "it lacks every modality that exp6_head uses: video (no clip), audio (no clip), text (no words)"
    )
    assert isinstance(good, Prediction)
    (alone,) = predictor.predict([Utterance(clips / "whole.mp4", "Hi .", "good")])
    assert isinstance(alone, Prediction)
    assert good.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


def test_nothing_to_predict_is_no_result(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_no_file_is_left_behind(
    predictor: Predictor, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    predictor.predict([Utterance(make_clip(clips / "other.mp4", seed=9), "Hi .")])
    assert not list(tmp_path.iterdir())


def test_a_conversation_is_read_in_its_order_and_whoever_stands_alone_is_counted(
    reader_of_conversations: Path, clips: Path, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = load_predictor("exp13", reader_of_conversations)
    said = [
        Utterance(None, "I won !", "first", "talk", "Ross"),
        Utterance(clips / "whole.mp4", "No !", "second", "talk", "Joey"),
        Utterance(None, "No !", "alone"),
    ]
    first, second, alone = predictor.predict(said)
    assert isinstance(first, Prediction)
    assert isinstance(second, Prediction)
    assert isinstance(alone, Prediction)
    assert [found.context for found in (first, second, alone)] == [0, 1, 0]
    (lonely,) = predictor.predict(said[1:2])
    assert isinstance(lonely, Prediction)
    assert "no utterance has context, with which (1 before and speakers) the model was trained" in caplog.text
    assert lonely.probabilities != pytest.approx(second.probabilities, abs=1e-7)
    (by_another,) = predictor.predict([Utterance(clips / "whole.mp4", "No !", "second", "talk", "Monica")])
    assert isinstance(by_another, Prediction)
    assert by_another.probabilities != pytest.approx(lonely.probabilities, abs=1e-7)


def test_an_encoder_that_has_moved_is_given_by_its_place(
    reader_of_conversations: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(encoder_folder, moved)
    assert load_predictor("exp13", reader_of_conversations, {"text": str(moved)}).predict([Utterance(None, "Hi .")])
    change(moved / "config.json", hidden_act="relu")
    with pytest.raises(CheckpointError, match="moved: not the text checkpoint that exp13 was trained with"):
        load_predictor("exp13", reader_of_conversations, {"text": str(moved)})

"""The prediction stage's nodes on real clips and a real, tiny model."""

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support.made_corpus import write_ecf
from support.made_media import make_clip
from trimood.config.parameters import ClipParams, CompareParams, PredictionParams
from trimood.corpus.tables import ABSENCE_COLUMNS, OWN_UTTERANCE_COLUMNS
from trimood.emotions import EMOTIONS
from trimood.pipelines.predict.nodes import (
    NothingPredicted,
    _by_cause,
    draw,
    export,
    predict,
    prepare,
    read_utterances,
    score,
    summarise,
)
from trimood.serving.predictor import Prediction, Utterance, load_predictor
from trimood.serving.trained_model import TrainedModel, load_trained

HERE = ClipParams(on_bad_clip="fail", executor="serial", workers=1, time_limit_seconds=60)
CUES = """1
00:00:00,000 --> 00:00:01,000
Hi .

2
00:00:01,000 --> 00:00:02,000
No !

3
00:00:05,000 --> 00:00:06,000
Gone
"""


@pytest.fixture(scope="module")
def trained(trained_folder: Path) -> TrainedModel:
    return load_trained("exp6_head", trained_folder)


@pytest.fixture
def own(clips: Path, tmp_path: Path) -> Path:
    """The clips with words for two of them."""
    folder = tmp_path / "own"
    shutil.copytree(clips, folder)
    (folder / "words.csv").write_text('clip,text\nwhole.mp4,"Oh, no | never !"\nbroken.mp4,Hi .\n')
    return folder


def prepared(clips: str, trained: TrainedModel, cache: Path, text: str = "") -> tuple[pd.DataFrame, pd.DataFrame]:
    return prepare(read_utterances(clips, text), trained, cache / "cut", cache / "parts", HERE)


@pytest.mark.slow
def test_a_folder_is_predicted_and_what_is_bad_costs_only_itself(
    own: Path, trained: TrainedModel, trained_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="trimood"):
        examples, refused = prepared(str(own), trained, tmp_path)
    assert refused["utterance"].tolist() == ["broken"]
    said = "1 of 3 utterances are not predicted; refused.csv lists them with the reasons:\n  broken: unreadable: "
    assert said in caplog.text
    predictions = predict(examples, trained, tmp_path / "parts")
    assert predictions["utterance"].tolist() == ["mute", "whole"]
    assert predictions["absent"].tolist() == ["audio (no audio track), text (no words)", ""]
    utterances = [Utterance(own / "mute.mp4"), Utterance(own / "whole.mp4", "Oh, no | never !")]
    found = load_predictor("exp6_head", trained_folder).predict(utterances)
    for row, wanted in zip(predictions.to_dict("records"), found, strict=True):
        assert isinstance(wanted, Prediction)
        assert row["predicted"] == wanted.emotion
        assert {e: row[f"p_{e}"] for e in EMOTIONS} == pytest.approx(wanted.probabilities, abs=1e-9)
        assert {e: row[f"calibrated_{e}"] for e in EMOTIONS} == pytest.approx(wanted.calibrated, abs=1e-9)


def test_the_table_shows_calibrated_numbers_and_what_was_left_out(
    own: Path, trained: TrainedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    examples, refused = prepared(str(own), trained, tmp_path)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="trimood"):
        predictions = predict(examples, trained, tmp_path / "parts")
        table = summarise(predictions, refused, {})
    summary, every, left_out = (part.strip() for part in re.split("All utterances:|Not predicted:", table))
    assert summary in caplog.text
    assert "Absent: audio in 1 (no audio track); text in 1 (no words)." in summary
    assert "broken" in left_out
    assert "broken" not in caplog.text  # it was named before
    (row,) = [line for line in every.splitlines() if line.startswith("| whole ")]
    numbers = " | ".join(f"{predictions.iloc[1][f'calibrated_{emotion}']:.2f}" for emotion in EMOTIONS)
    assert row == f"| whole | Oh, no \\| never ! | {predictions.iloc[1]['predicted']} | {numbers} |  |"
    assert "\n- broken: unreadable: " in table
    assert "Not predicted" not in summarise(predictions, refused.iloc[:0], {})


@pytest.mark.slow
def test_probabilities_that_no_temperature_changes_are_not_called_calibrated(
    own: Path, trained: TrainedModel, tmp_path: Path
) -> None:
    examples, refused = prepared(str(own), trained, tmp_path)
    for temperature, words in ((2.0, "calibrated prob"), (1.0, "probabilities, not calibrated (temperature 1)")):
        predictions = predict(examples, replace(trained, temperature=temperature), tmp_path / "parts")
        assert f"Predictions of exp6_head, {words}" in summarise(predictions, refused, {})
        title = draw(predictions, examples, tmp_path / "parts", PredictionParams(shown_utterances=1)).get_suptitle()
        assert ("not calibrated" in title) == (temperature == 1)


class Undecided:
    """A predictor to which all emotions are equally likely."""

    name, modalities = "exp4", ("text",)

    def __init__(self, trained: object) -> None:
        del trained

    def probabilities(self, examples: pd.DataFrame, prepared_clips: Path) -> np.ndarray:
        return np.full((len(examples), 7), 1 / 7)

    def calibrated(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities


def test_of_two_thousand_utterances_the_log_shows_the_first_and_counts_the_causes_of_five_hundred(
    trained: TrainedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"u{number:04}" for number in range(2000)]
    utterances = pd.DataFrame({"utterance": keys, "text": "Oh\u2028no\rnever", "clip": "a\nb.mp4"})
    utterances = (
        utterances.reindex(columns=list(OWN_UTTERANCE_COLUMNS))
        .assign(emotion="")
        .astype(OWN_UTTERANCE_COLUMNS | {"utterance_id": "Int64"})
    )
    utterances[list(ABSENCE_COLUMNS.values())] = ""
    bad = utterances.iloc[:500].assign(message=[f"{('unreadable', 'silent')[n % 5 == 0]}: {n}" for n in range(500)])
    monkeypatch.setattr("trimood.serving.preparation.cut_spans", lambda *_: (utterances, bad.iloc[:0]))
    monkeypatch.setattr("trimood.serving.preparation.prepare_own", lambda *_: (utterances.iloc[500:], bad))
    monkeypatch.setattr("trimood.serving.predictor.Predictor", Undecided)
    with caplog.at_level(logging.INFO, logger="trimood"):
        examples, refused = prepare(utterances, trained, tmp_path, tmp_path, HERE)
        table = summarise(predict(examples, trained, tmp_path), refused, {})
    printed = "\n".join(record.getMessage() for record in caplog.records).splitlines()
    assert len(printed) <= 25
    assert printed[0] == "500 of 2000 utterances are not predicted; refused.csv lists them with the reasons:"
    first = [f"u{number:04}" for number in range(500) if number % 5][:20]
    assert printed[1:4] == [
        f"  400 unreadable: {', '.join(first)}, and 380 more",
        "  100 silent",
        "  the first reason in full: silent: 0",
    ]
    assert printed[-1].startswith("| u0509 | Oh no never | surprise 0.14 | fear 0.14 |")
    assert len(table.splitlines()) == len(printed) - 4 + 3 + 2 + 1500 + 3 + 500
    assert len(refused) == 500


def test_the_cause_of_a_refusal_keeps_the_name_of_the_model() -> None:
    cause = "it lacks every modality that models:/trimood-exp4@champion uses"
    refused = pd.DataFrame({"utterance": list("abcdef"), "message": f"{cause}: text (no words)"})
    assert _by_cause(refused).splitlines()[0] == f"6 {cause}: a, b, c, d, e, f"


@pytest.mark.slow
def test_subtitles_cut_a_video_into_utterances(trained: TrainedModel, tmp_path: Path) -> None:
    long = make_clip(tmp_path / "long.mp4", seconds=3.0)
    (tmp_path / "long.srt").write_text(CUES)
    examples, refused = prepared(str(long), trained, tmp_path)
    assert examples[["utterance", "text"]].values.tolist() == [["long_001", "Hi ."], ["long_002", "No !"]]
    assert examples["part"].nunique() == 2
    assert refused["utterance"].tolist() == ["long_003"]
    assert refused["message"].iloc[0].startswith("beyond the end")
    predictions = predict(examples, trained, tmp_path / "parts")
    assert predictions["video"].tolist() == [str(long), str(long)]
    page, rows, written = export(predictions, refused, {})
    assert "long_003: beyond the end" in page
    assert page.count("data-second") == 2
    assert rows["start"].tolist() == ["00:00:00.000", "00:00:01.000"]
    assert written["long"].count(" --> ") == 2
    alone, _ = prepared(str(long), trained, tmp_path, "Hi .")
    whole = predict(alone, trained, tmp_path / "parts")
    assert whole["p_joy"].iloc[0] != pytest.approx(predictions["p_joy"].iloc[0], abs=1e-6)


def test_the_picture_has_a_row_for_each_of_the_first_utterances(
    own: Path, trained: TrainedModel, tmp_path: Path
) -> None:
    examples, _ = prepared(str(own), trained, tmp_path)
    predictions = predict(examples, trained, tmp_path / "parts")
    words = {
        shown: [text.get_text() for ax in figure.axes for text in ax.texts]
        for shown in (1, 2)
        for figure in [draw(predictions, examples, tmp_path / "parts", PredictionParams(shown_utterances=shown))]
    }
    assert "no sound" in words[1]  # of mute.mp4, the first
    assert "absent: audio (no audio track), text (no words)" in " ".join(words[1]).replace("\n", " ")
    assert not any("never" in text for text in words[1])
    assert any("never" in text for text in words[2])


def test_where_nothing_can_be_predicted_the_reasons_are_the_error(
    clips: Path, trained: TrainedModel, tmp_path: Path
) -> None:
    with pytest.raises(NothingPredicted, match="none of 1 utterances can be predicted:\n  broken: unreadable: "):
        prepared(str(clips / "broken.mp4"), trained, tmp_path)


def test_words_of_a_conversation_are_predicted_with_the_words_before(
    reader_of_conversations: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trimood")
    trained = load_trained("exp13", reader_of_conversations)
    (tmp_path / "words.csv").write_text(
        "clip,text,conversation,order,speaker\nb,No !,talk,2,Ross\na,I won !,talk,1,Joey\nc,No !,,,Ross\n"
    )
    examples, _ = prepared("", trained, tmp_path, str(tmp_path / "words.csv"))
    predictions = predict(examples, trained, tmp_path / "parts").set_index("utterance")
    assert "1 of 3 utterances have context" in caplog.text
    assert predictions["p_joy"]["b"] != predictions["p_joy"]["c"]


COMPARE = CompareParams(baseline="exp1", resamples=1000, confidence=0.95, seed=0, runs=())


@pytest.mark.slow
def test_words_with_true_emotions_are_scored_from_the_file_to_the_summary(
    reader_of_conversations: Path, tmp_path: Path
) -> None:
    trained = load_trained("exp13", reader_of_conversations)
    write_ecf(tmp_path, {1: ["joy", None], 2: ["fear"]}, "words.json")
    examples, refused = prepared("", trained, tmp_path, str(tmp_path / "words.json"))
    predictions = predict(examples, trained, tmp_path / "parts")
    assert predictions["emotion"].tolist() == ["joy", "", "fear"]
    scores = score(predictions, COMPARE)
    said = f"Against 2 true emotions: macro F1 {scores['macro_f1']:.3f} (mean over the 2 emotions that occur), "
    assert said in summarise(predictions, refused, scores)

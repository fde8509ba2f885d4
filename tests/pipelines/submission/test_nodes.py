"""The submission stage: unlabelled utterances are predicted, the file is the task's, scores need annotated pairs."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support.learning_examples import EMBEDDINGS, example_table, tiny_identity, tiny_model, tiny_plan, tiny_weights
from support.made_corpus import made_conversation, write_ecf
from trimood.corpus.causes import SubmissionError
from trimood.corpus.ecf import AnnotationError
from trimood.emotions import EMOTIONS
from trimood.learning.prediction import probabilities
from trimood.model.config import CheckpointError
from trimood.model.trained import trained_state
from trimood.pipelines.ingestion.nodes import read_for_submission
from trimood.pipelines.submission.nodes import describe, predict, score_pairs, write_pairs

PAIRS = {"emotion-cause_pairs": [["1_joy", "1"], ["2_fear", "1"]]}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_ecf(tmp_path, [made_conversation(9, ["joy", "fear", "neutral"]) | PAIRS], "Subtask_2_test.json")
    return tmp_path


def predicted(*emotions: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"utterance": [f"dia9utt{n}" for n in range(1, len(emotions) + 1)], "predicted": list(emotions)}
    )


def test_utterances_without_a_label_are_predicted_as_those_with_one(
    sources: dict[str, str], prepared_clips: Path, tmp_path: Path
) -> None:
    plan, model = tiny_plan(sources), tiny_model(sources)
    weights = tiny_weights(plan, trained_state(model.model))
    labelled = example_table(9)
    unlabelled = labelled.assign(emotion=None, label=pd.Series([pd.NA] * 9, dtype="Int8"))
    rows = predict(weights.about.identity, weights, unlabelled, prepared_clips, tmp_path, EMBEDDINGS)
    wanted = probabilities(model.model, model.examples(labelled, prepared_clips), 8)
    np.testing.assert_array_equal(rows[[f"p_{emotion}" for emotion in EMOTIONS]].to_numpy(), wanted)
    assert list(rows["predicted"]) == [EMOTIONS[number] for number in wanted.argmax(1)]
    assert len(set(wanted.round(6)[:, 0])) > 1  # the examples are told apart, so an order that is lost would show


def test_weights_of_another_training_than_the_plans_are_refused(
    sources: dict[str, str], prepared_clips: Path, tmp_path: Path
) -> None:
    plan = tiny_plan(sources, train="lora")
    weights = tiny_weights(plan, trained_state(tiny_model(sources, train="lora").model))
    assert plan.settings.lora is not None
    lora = plan.settings.lora.model_copy(update={"alpha": 16})  # of the same shapes: only the stored plan tells
    other = plan.model_copy(update={"settings": plan.settings.model_copy(update={"lora": lora})})
    with pytest.raises(
        CheckpointError, match=r"of another run than the stored plan .*\(plan.settings.lora.alpha: 4 and 16\)"
    ):
        predict(tiny_identity(other), weights, example_table(9), prepared_clips, tmp_path, EMBEDDINGS)


def test_checkpoints_that_were_replaced_since_the_training_are_refused(
    sources: dict[str, str], prepared_clips: Path, tmp_path: Path
) -> None:
    copied = {source: shutil.copytree(place, tmp_path / source) for source, place in sources.items()}
    copies = {source: str(place) for source, place in copied.items()}
    weights = tiny_weights(tiny_plan(copies), trained_state(tiny_model(copies).model))
    config = copied["video"] / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(CheckpointError, match=r"not the video checkpoint that exp3 was trained with"):
        predict(weights.about.identity, weights, example_table(9), prepared_clips, tmp_path, EMBEDDINGS)


def test_the_file_holds_every_utterance_and_a_pair_for_each_that_is_not_neutral(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    utterances = read_for_submission(corpus)
    (conversation,) = write_pairs(utterances, predicted("joy", "neutral"))
    assert len(conversation["conversation"]) == 3
    assert conversation["emotion-cause_pairs"] == [["1_joy", "1"]]
    assert "1 of 3 utterances have no prediction" in caplog.text
    about = describe("exp4", corpus, utterances, predicted("joy", "neutral"))
    assert about == {
        "experiment": "exp4",
        "file": "Subtask_2_test.json",
        "utterances": 3,
        "predicted_utterances": 2,
    }


def test_a_file_that_the_scorer_would_refuse_is_not_written(corpus: Path) -> None:
    with pytest.raises(SubmissionError, match="expected"):
        write_pairs(read_for_submission(corpus), predicted("joy", "bliss"))


def test_pairs_are_scored_against_the_annotated_ones_and_not_at_all_without_them(corpus: Path) -> None:
    utterances = read_for_submission(corpus)
    scores = score_pairs(write_pairs(utterances, predicted("joy", "fear", "neutral")), utterances, corpus)
    # joy 1 of 1, fear with another cause; one annotated pair each.
    assert scores["pair_weighted_f1"] == pytest.approx(1 / 2)
    assert scores["pair_micro_f1"] == pytest.approx(1 / 2)
    unlabelled = made_conversation(9, [None, None, None])
    del unlabelled["emotion-cause_pairs"]
    write_ecf(corpus, [unlabelled], "Subtask_2_test.json")
    utterances = read_for_submission(corpus)
    assert len(utterances) == 3
    assert score_pairs(write_pairs(utterances, predicted("joy", "fear", "neutral")), utterances, corpus) == {}


def test_without_an_official_test_file_it_is_said_which_is_needed(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"no official test file.*Subtask_2_test_eval_release_unlabelled\.json"):
        read_for_submission(tmp_path)

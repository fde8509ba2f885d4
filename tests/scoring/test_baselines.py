"""What needs no model."""

import json

import numpy as np
import pytest

from support.shared_data import SHARED, needs_shared
from trimood.emotions import EMOTIONS
from trimood.scoring.baselines import PUBLISHED_FOR_ECF, all_neutral, class_prior, tfidf
from trimood.scoring.metrics import summary_scores

JOY, ANGER, NEUTRAL = (EMOTIONS.index(emotion) for emotion in ("joy", "anger", "neutral"))


def test_all_neutral_is_certain() -> None:
    assert (all_neutral(2) == np.eye(7)[[NEUTRAL, NEUTRAL]]).all()


def test_the_class_prior_is_the_shares_of_training_also_of_what_it_lacks() -> None:
    chances = class_prior([JOY, JOY, ANGER, NEUTRAL], 3)
    assert chances.shape == (3, 7)
    assert (chances[0] == chances[2]).all()
    assert chances[0, [JOY, ANGER, NEUTRAL]] == pytest.approx([0.5, 0.25, 0.25])
    assert chances[0].sum() == 1


def test_tfidf_learns_words_pairs_of_words_marks_and_parts_of_words() -> None:
    texts = ["so happy !", "we are happy !", "so angry .", "we are angry ."]
    labels = [JOY, JOY, ANGER, ANGER]
    (chances,) = tfidf(texts * 3, labels * 3, ["happy", "angry", "unhappyish", "!", "."], "balanced")
    assert chances.shape == (5, 7)
    assert chances.sum(axis=1) == pytest.approx(1)
    assert chances.argmax(axis=1).tolist() == [JOY, ANGER, JOY, JOY, ANGER]


def test_tfidf_balances_the_classes() -> None:
    """Of a word that says nothing, the rare emotion is as likely as the common one."""
    chances, roots = tfidf(["yes"] * 9 + ["yes"], [NEUTRAL] * 9 + [JOY], ["yes"], "balanced", "sqrt")
    assert chances[0, [NEUTRAL, JOY]] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert roots[0, [NEUTRAL, JOY]] == pytest.approx([0.75, 0.25], abs=1e-3)  # nine of weight 1, one of weight 3


@needs_shared
@pytest.mark.slow
def test_on_the_real_corpus_the_references_score_as_published() -> None:
    """All neutral to the digit; TF-IDF about so, as its published figure does not say what a word is."""
    assert SHARED is not None
    texts, labels = {}, {}
    for part in ("train", "test"):
        path = SHARED / "reference" / "ecf2" / f"Subtask_2_{part}.json"
        utterances = [row for whole in json.loads(path.read_text()) for row in whole["conversation"]]
        texts[part] = [row["text"] for row in utterances]
        labels[part] = [EMOTIONS.index(row["emotion"]) for row in utterances]
    published = {figure.name: figure for figure in PUBLISHED_FOR_ECF if figure.split == "official test"}
    neutral = summary_scores(labels["test"], all_neutral(len(texts["test"])).argmax(axis=1))
    assert round(neutral["macro_f1"], 3) == published["all neutral"].macro_f1
    assert round(neutral["weighted_f1"], 3) == published["all neutral"].weighted_f1
    found = tfidf(texts["train"], labels["train"], texts["test"], "balanced", "sqrt")
    words, roots = (summary_scores(labels["test"], chances.argmax(axis=1)) for chances in found)
    assert roots["macro_f1"] == pytest.approx(0.323, abs=0.005)  # docs/experiments.md
    assert words["macro_f1"] == pytest.approx(published["TF-IDF"].macro_f1, abs=0.015)
    assert words["weighted_f1"] == pytest.approx(published["TF-IDF"].weighted_f1, abs=0.015)

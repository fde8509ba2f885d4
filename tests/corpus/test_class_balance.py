"""Class weights and priors follow from the training labels alone."""

import numpy as np
import pytest

from trimood.config.experiment_settings import LossParams
from trimood.corpus.class_balance import AbsentEmotion, class_weights, loss_terms
from trimood.emotions import EMOTIONS

COUNTS = np.array([1, 4, 16, 64, 4, 4, 4])
LABELS = np.repeat(np.arange(7), COUNTS)


def test_weights_are_roots_or_inverses_of_the_counts_with_mean_1() -> None:
    roots, inverses = class_weights(COUNTS, "sqrt"), class_weights(COUNTS, "balanced")
    assert roots.mean() == pytest.approx(1)
    assert inverses.mean() == pytest.approx(1)
    assert roots / roots[0] == pytest.approx([1, 1 / 2, 1 / 4, 1 / 8, 1 / 2, 1 / 2, 1 / 2])
    assert inverses * COUNTS == pytest.approx(np.full(7, inverses[0]))
    assert (class_weights(COUNTS, "none") == 1).all()


def test_the_adjustment_is_tau_times_the_logarithm_of_the_share() -> None:
    terms = loss_terms(LossParams(logit_adjustment=0.5), LABELS)
    assert terms.adjustment == pytest.approx(0.5 * np.log(COUNTS / 97))
    assert (terms.weights == 1).all()


def test_only_what_changes_the_loss_is_described() -> None:
    assert loss_terms(LossParams(label_smoothing=0.1), LABELS).described() == {}
    assert list(loss_terms(LossParams(class_weights="sqrt"), LABELS).described()) == [
        f"class_weight.{emotion}" for emotion in EMOTIONS
    ]
    described = loss_terms(LossParams(logit_adjustment=1), LABELS).described()
    assert described["adjustment.neutral"] == round(float(np.log(64 / 97)), 4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"class_weights": "sqrt"}, "loss.class_weights=sqrt: none of the 96 training utterances is of surprise, so"),
        ({"logit_adjustment": 0.5}, "loss.logit_adjustment=0.5: none of the 96 .*data.split.seed.*logit_adjustment=0"),
    ],
)
def test_an_emotion_that_does_not_occur_has_no_weight(given: dict, words: str) -> None:
    with pytest.raises(AbsentEmotion, match=words):
        loss_terms(LossParams(**given), LABELS[1:])
    loss_terms(LossParams(label_smoothing=0.1), LABELS[1:])

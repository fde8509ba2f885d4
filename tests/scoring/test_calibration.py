"""Calibration: by hand, by scikit-learn, and a temperature that is known."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from trimood.scoring.calibration import (
    BINS,
    CalibrationScores,
    calibrate,
    expected_calibration_error,
    made_worse,
    negative_log_likelihood,
    reliability,
    with_temperature,
)


def chances(*confident: tuple[int, float]) -> np.ndarray:
    """Rows whose class has the given probability, the rest shared by the other six."""
    rows = np.array([[(1 - p) / 6] * 7 for _, p in confident])
    for row, (emotion, p) in zip(rows, confident, strict=True):
        row[emotion] = p
    return rows


def test_ece_of_five_utterances_is_the_one_worked_out_by_hand() -> None:
    """Two bins: confidence 0.9 (three, two right), 0.5 (two, both right)."""
    probabilities = chances((3, 0.9), (3, 0.9), (4, 0.9), (0, 0.5), (1, 0.5))
    labels = [3, 3, 3, 0, 1]
    table = reliability(labels, probabilities)
    assert table["utterances"].tolist() == [2, 3]
    assert table["confidence"].tolist() == pytest.approx([0.5, 0.9])
    assert table["accuracy"].tolist() == pytest.approx([1, 2 / 3])
    expected = 2 / 5 * (1 - 0.5) + 3 / 5 * (0.9 - 2 / 3)
    assert expected_calibration_error(labels, probabilities) == pytest.approx(expected)


def test_a_bin_holds_its_upper_end_and_certainty_has_a_place() -> None:
    table = reliability([0, 0], chances((0, 1.0), (0, 0.21)))
    assert BINS == 15
    assert table["lower"].tolist() == pytest.approx([3 / 15, 14 / 15])
    assert table["upper"].tolist() == pytest.approx([4 / 15, 1])
    assert reliability([0], chances((0, 0.6)))["upper"].item() == pytest.approx(0.6)  # the ninth of 15 ends there


def made(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from a softmax, and that softmax as if its logits had been multiplied by the temperature."""
    generator = np.random.default_rng(4)
    logits = generator.normal(0, 1.5, (count, 7))
    labels = (generator.random((count, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1).clip(max=6)
    return labels, softmax(logits * temperature, axis=1)


def test_the_reliability_curve_is_scikit_learns() -> None:
    labels, probabilities = made(2)
    right = probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=BINS, strategy="uniform")
    table = reliability(labels, probabilities)
    assert table["accuracy"].to_numpy() == pytest.approx(accuracy)
    assert table["confidence"].to_numpy() == pytest.approx(confidence)
    assert table["utterances"].sum() == len(labels)


def test_the_negative_log_likelihood_is_scikit_learns_log_loss() -> None:
    labels, probabilities = made(1.5, 500)
    expected = log_loss(labels, probabilities, labels=list(range(7)))
    assert negative_log_likelihood(labels, probabilities) == pytest.approx(expected)
    assert negative_log_likelihood([1], [[1, 0, 0, 0, 0, 0, 0]]) == pytest.approx(-np.log(1e-12))


@pytest.mark.parametrize("known", [0.5, 1.0, 2.5])
def test_the_temperature_that_the_logits_were_multiplied_by_is_found(known: float) -> None:
    labels, probabilities = made(known)
    temperature = calibrate(labels, probabilities).temperature
    assert temperature == pytest.approx(known, rel=0.04)
    mended = with_temperature(probabilities, temperature)
    assert (mended.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert mended.sum(axis=1) == pytest.approx(1)
    assert negative_log_likelihood(labels, mended) <= negative_log_likelihood(labels, probabilities)
    assert expected_calibration_error(labels, mended) < 0.02
    if known != 1:
        assert expected_calibration_error(labels, probabilities) > 0.1


def test_temperature_one_changes_nothing() -> None:
    _, probabilities = made(1.5, 10)
    assert (with_temperature(probabilities, 1) == probabilities).all()


def test_calibrate_fits_on_one_split_and_scores_before_and_after_on_another() -> None:
    validation = ([3] * 7 + [0] * 3, chances(*[(3, 0.95)] * 10))
    test = ([3, 3, 3, 3, 0], chances(*[(3, 0.95)] * 5))
    on_itself, on_test = calibrate(*validation), calibrate(*validation, scored_on=test)
    assert on_itself.temperature == on_test.temperature > 1
    assert on_test.before.expected_calibration_error == expected_calibration_error(*test)
    cooled = with_temperature(test[1], on_test.temperature)
    assert on_test.after.negative_log_likelihood == negative_log_likelihood(test[0], cooled)
    assert on_test.after.negative_log_likelihood < on_test.before.negative_log_likelihood
    assert on_itself.after.expected_calibration_error == pytest.approx(0, abs=1e-4)  # 7 of 10 right at confidence 0.7


MIXED = [3, 3, 0, 3, 1, 3, 3, 2, 3, 3]

TOO_LITTLE = {
    "2 utterances are too few; at least 10": ([3, 4], chances((3, 0.4), (4, 0.4))),
    "9 utterances are too few": (MIXED[:9], chances(*[(3, 0.8)] * 9)),
    "same emotion": ([3] * 12, chances(*[(3, 0.6), (0, 0.7)] * 6)),
    "all answers are right": ([3, 4] * 10, chances(*[(3, 0.4), (4, 0.5)] * 10)),
    "all answers are wrong": ([0, 1] * 10, chances(*[(3, 0.4), (4, 0.5)] * 10)),
    "equally likely": (MIXED, np.full((10, 7), 1 / 7)),
    "no temperature between 0.01 and 100": (list(range(7)) * 3, chances(*[(3, 0.9)] * 21)),
}


@pytest.mark.parametrize("reason", TOO_LITTLE)
def test_too_little_to_fit_leaves_probabilities_as_they_are_and_says_why(reason: str) -> None:
    """Two right answers at confidence 0.4 gave a temperature of 0.04, and every answer became certain."""
    labels, probabilities = TOO_LITTLE[reason]
    found = calibrate(labels, probabilities)
    assert found.temperature == 1
    assert found.not_fitted is not None
    assert reason in found.not_fitted
    assert found.before == found.after


def test_ten_mixed_answers_are_enough() -> None:
    found = calibrate(MIXED, chances(*[(3, 0.95)] * 10))
    assert found.temperature > 1
    assert found.not_fitted is None


def test_scores_that_get_worse_are_named_and_others_are_not() -> None:
    def scores(error: float, loss: float) -> CalibrationScores:
        return CalibrationScores(expected_calibration_error=error, negative_log_likelihood=loss)

    assert made_worse(scores(0.073, 1.2), scores(0.14, 1.1)) == "ECE 0.073 to 0.140"
    assert made_worse(scores(0.1, 1.2), scores(0.1, 1.25)) == "NLL 1.200 to 1.250"
    assert made_worse(scores(0.14, 1.2), scores(0.073, 1.2001)) == ""

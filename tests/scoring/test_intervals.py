"""Intervals: counts and scores by hand and by scikit-learn, variance by hand and by scipy, coverage by trial."""

from functools import cache

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from support.made_conversations import CLASSES, made_conversations
from trimood.scoring.intervals import (
    Sampled,
    count_confusions,
    draw_conversations,
    estimate,
    interval,
    macro_f1,
    sample_score,
    weighted_f1,
)

NO_BIAS = np.array([-1.0, 0.0, 1.0])  # draws of a difference of 0: mean 0, variance 2/3


def test_counts_are_by_conversation_true_and_predicted() -> None:
    counts = count_confusions([3, 3, 4, 0], [3, 4, 4, 0], [12, 7, 7, 12])
    assert counts.shape == (2, 7, 7)
    assert counts.sum() == 4
    assert (counts[0, 3, 4], counts[0, 4, 4]) == (1, 1)  # conversation 7
    assert (counts[1, 3, 3], counts[1, 0, 0]) == (1, 1)  # conversation 12


def test_scores_of_counts_are_scikit_learns() -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 6, size=200)  # class 6 neither occurs nor is predicted
    predictions = np.where(generator.random(200) < 0.5, labels, generator.integers(0, 6, size=200))
    counts = count_confusions(labels, predictions, np.arange(200) // 9).sum(axis=0)
    for score, average in ((macro_f1, "macro"), (weighted_f1, "weighted")):
        expected = f1_score(labels, predictions, labels=list(range(7)), average=average, zero_division=0)
        assert score(counts) == pytest.approx(expected, abs=1e-12)
    assert macro_f1(counts) != pytest.approx(weighted_f1(counts), abs=1e-3)


def test_a_draw_takes_whole_conversations_one_fewer_than_there_are() -> None:
    draws = draw_conversations(5, 2000, seed=0)
    assert draws.shape == (2000, 5)
    assert set(draws.sum(axis=1)) == {4}
    assert draws.max() > 1  # with replacement
    assert draws.mean() == pytest.approx(4 / 5)
    assert np.abs(draws.mean(axis=0) - 4 / 5).max() < 0.1
    assert (draws == draw_conversations(5, 2000, seed=0)).all()
    assert (draws != draw_conversations(5, 2000, seed=1)).any()


def test_one_conversation_is_too_few() -> None:
    with pytest.raises(ValueError, match=r"the test split has 1 conversation\(s\).*at least two"):
        draw_conversations(1, 100, seed=0)


def test_the_score_of_a_draw_is_that_of_its_utterances_and_the_mean_over_seeds() -> None:
    labels, conversations = np.array([0, 1, 2, 0, 1, 2, 3]), np.array([1, 1, 1, 2, 2, 3, 3])
    seeds = [np.array([0, 1, 2, 1, 1, 2, 0]), np.array([0, 0, 2, 0, 1, 3, 3])]
    counts = np.stack([count_confusions(labels, predictions, conversations) for predictions in seeds])
    sampled = sample_score(macro_f1, counts, np.array([[1, 1, 1], [2, 0, 1]]))

    def scored(rows: list[int], predictions: np.ndarray) -> float:
        return float(f1_score(labels[rows], predictions[rows], labels=CLASSES, average="macro", zero_division=0))

    everything, second = [*range(7)], [0, 1, 2, 0, 1, 2, 5, 6]  # conversation 1 twice, 2 not at all
    assert sampled.of_seeds == pytest.approx([scored(everything, of) for of in seeds])
    assert sampled.of_draws == pytest.approx(
        [np.mean([scored(rows, of) for of in seeds]) for rows in (everything, second)]
    )
    assert sampled.conversations == 3


def test_the_variance_of_draws_is_scipys_bootstrap_of_as_many_conversations_as_there_are() -> None:
    """scipy draws n of n conversations, where the variance of a mean is (n - 1) / n of the unbiased one."""
    counts = made_conversations(np.random.default_rng(5), trainings=1, conversations=15)

    def of_sample(numbers: np.ndarray, axis: int) -> np.ndarray:
        return macro_f1(counts[0][np.moveaxis(numbers, axis, 0)].sum(axis=0))

    resampled = stats.bootstrap(
        (np.arange(15),), of_sample, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    )
    ours = sample_score(macro_f1, counts, draw_conversations(15, 20_000, seed=0)).of_draws.std()
    assert ours == pytest.approx(resampled.standard_error * np.sqrt(15 / 14), rel=0.04)


def test_for_a_mean_the_standard_error_is_the_textbooks() -> None:
    """Of numbers in place of scores, one a conversation: s / sqrt(n), and Student's interval by scipy."""
    values = np.array([0.2, 0.9, 0.4, 0.4, 0.8, 0.1])
    draws = draw_conversations(6, 200_000, seed=0)
    found = interval(values.mean(), draws @ values / 5, 6, [], 0.95)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.003)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=0.03)


def test_several_seeds_add_their_own_variance_and_degrees_of_freedom() -> None:
    """Draws: variance 2/3 with 10 degrees; seeds 1, 2, 3: variance 1 of 3, so 1/3 with 2. Together 1 with 10."""
    found = interval(2.0, 2 + NO_BIAS, 11, [np.array([1.0, 2.0, 3.0])], 0.95)
    freedom = 1 / ((2 / 3) ** 2 / 10 + (1 / 3) ** 2 / 2)
    assert freedom == pytest.approx(10)
    assert (found.low, found.high) == pytest.approx((2 - 2.2281, 2 + 2.2281), abs=1e-4)  # t of 10 degrees at 97.5 %
    one_seed = interval(2.0, 2 + NO_BIAS, 11, [np.array([2.0])], 0.95)
    reach = 2.2281 * np.sqrt(2 / 3)
    assert (one_seed.low, one_seed.high) == pytest.approx((2 - reach, 2 + reach), abs=1e-4)


def test_the_interval_is_moved_by_the_bias_that_the_draws_show() -> None:
    found = interval(0.5, 0.4 + NO_BIAS, 11, [], 0.95)
    assert (found.value, (found.low + found.high) / 2) == pytest.approx((0.5, 0.6))


def test_a_difference_that_never_changes_is_no_division_by_zero() -> None:
    nothing = interval(0.0, np.zeros(5), 4, [], 0.95)
    assert (nothing.low, nothing.high, nothing.p_value) == (0, 0, 1)
    always = interval(0.2, np.full(5, 0.2), 4, [], 0.95)
    assert (always.low, always.high, always.p_value) == (0.2, 0.2, 0)


def test_the_interval_of_a_score_is_students_on_the_scale_of_the_arcsine() -> None:
    """As a textbook would, of the angles of made scores, and back."""
    sampled = Sampled(np.array([0.9, 0.8, 0.7]), np.linspace(0.6, 0.95, 11), 12)
    angles = np.arcsin(np.sqrt(sampled.of_draws)), np.arcsin(np.sqrt(sampled.of_seeds))
    parts = [(angles[0].var(), 11), (angles[1].var(ddof=1) / 3, 2)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / of for part, of in parts)
    centre = 2 * np.arcsin(np.sqrt(0.8)) - angles[0].mean()
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    found = estimate(sampled, 0.95)
    assert (found.low, found.high) == pytest.approx(tuple(np.sin([centre - reach, centre + reach]) ** 2))
    assert found.high - found.value < found.value - found.low  # there is less room above


def test_students_interval_of_the_scores_themselves_would_leave_the_range() -> None:
    draws = np.linspace(0.1, 0.27, 100)
    assert interval(0.185, draws, 12, [np.array([0.12, 0.25])], 0.95).low < 0
    assert 0 < estimate(Sampled(np.array([0.12, 0.25]), draws, 12), 0.95).low < 0.12


@pytest.mark.parametrize("of_seeds", [[0.12, 0.25], [0.9, 0.99], [0.3], [0.0, 0.5], [1.0, 0.4]])
@pytest.mark.parametrize("conversations", [2, 3, 12])
def test_an_interval_lies_between_zero_and_one_and_holds_its_score(of_seeds: list[float], conversations: int) -> None:
    generator = np.random.default_rng(0)
    draws = np.clip(np.mean(of_seeds) + generator.normal(0, 0.2, 200), 0, 1)
    for confidence in (0.5, 0.95, 0.9999):
        found = estimate(Sampled(np.array(of_seeds), draws, conversations), confidence)
        assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(("score", "low", "high"), [(1.0, 0.7354, 1.0), (0.0, 0.0, 0.2646), (0.4, 0.4, 0.4)])
def test_a_score_of_zero_or_one_without_variance_is_no_certainty(score: float, low: float, high: float) -> None:
    """Clopper and Pearson of 12 of 12: 0.025 ** (1 / 12), by scipy too."""
    for seeds in (1, 3):
        found = estimate(Sampled(np.full(seeds, score), np.full(50, score), 12), 0.95)
        assert (found.value, found.low, found.high) == pytest.approx((score, low, high), abs=1e-4)
    if score == 1:
        assert found.low == pytest.approx(stats.binomtest(12, 12).proportion_ci(0.95).low)


def test_one_conversation_says_nothing_of_others() -> None:
    found = estimate(Sampled(np.array([0.7, 0.6]), np.array([0.65]), 1), 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.65, 0, 1))


TRIALS = 300


@cache
def truth(scatter: float, skill: float) -> float:
    """The score without end of conversations and of trainings, from very many of both."""
    generator = np.random.default_rng(99)
    counts = made_conversations(generator, 40 if scatter else 1, 1500 if scatter else 60_000, scatter, skill)
    return float(macro_f1(counts.sum(axis=1)).mean())


def covered(trainings: int, how: str, conversations: int = 40, skill: float = 0.55) -> float:
    """In which share of trials a 95 % interval holds the truth; one training alone has nothing to scatter from."""
    scatter = 0.5 if trainings > 1 else 0.0
    generator, hits = np.random.default_rng(7), 0
    for trial in range(TRIALS):
        counts = made_conversations(generator, trainings, conversations, scatter, skill)
        if how == "utterances":
            counts = one_utterance_each(counts)
        draws = draw_conversations(counts.shape[1], 300, seed=trial)
        sampled = sample_score(macro_f1, counts, draws)
        if how == "seeds left out":
            sampled = Sampled(sampled.of_seeds.mean(keepdims=True), sampled.of_draws, sampled.conversations)
        found = estimate(sampled, 0.95)
        assert 0 <= found.low <= found.value <= found.high <= 1
        hits += found.low <= truth(scatter, skill) <= found.high
    return hits / TRIALS


def one_utterance_each(counts: np.ndarray) -> np.ndarray:
    """The same utterances as if each were a conversation of its own; for one training."""
    cells = np.repeat(np.arange(49), counts[0].sum(axis=0).astype(int).ravel())
    return np.eye(49)[cells].reshape(1, len(cells), 7, 7)


@pytest.mark.slow
@pytest.mark.parametrize("trainings", [1, 3])
def test_of_a_hundred_intervals_about_95_hold_the_truth(trainings: int) -> None:
    assert 0.92 <= covered(trainings, "conversations") <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize(("trainings", "conversations"), [(2, 6), (5, 12)])
@pytest.mark.parametrize("skill", [0.55, 0.95])  # a macro F1 of 0.5 and 0.9
def test_few_conversations_and_seeds_near_the_end_of_the_range_are_covered_too(
    trainings: int, conversations: int, skill: float
) -> None:
    """More than 95 are no fault: there, the interval of two seeds is most of the range."""
    assert covered(trainings, "conversations", conversations, skill) >= 0.92


@pytest.mark.slow
def test_an_interval_by_resampling_utterances_covers_too_little() -> None:
    assert covered(1, "utterances") < 0.9


@pytest.mark.slow
def test_an_interval_that_knows_nothing_of_seeds_covers_too_little_for_several() -> None:
    assert covered(3, "seeds left out") < 0.9

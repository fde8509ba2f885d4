"""Differences: paired as by scipy, corrected as by hand, and as often wrong as they say."""

import numpy as np
import pytest
from scipy import stats

from support.made_conversations import made_conversations
from trimood.scoring.intervals import (
    Estimate,
    Sampled,
    _outcome,
    difference,
    differences,
    draw_conversations,
    holm,
    macro_f1,
    sample_score,
)


def of_numbers(values: list[float], draws: np.ndarray) -> Sampled:
    """A system whose score is the mean of one number a conversation, which has a textbook to be held against."""
    numbers = np.array(values)
    return Sampled(np.array([numbers.mean()]), draws @ numbers / (len(numbers) - 1), len(numbers))


def test_a_difference_of_means_is_the_paired_t_test_of_scipy() -> None:
    first, second = [0.5, 0.9, 0.4, 0.7, 0.8, 0.3, 0.6], [0.4, 0.9, 0.2, 0.6, 0.5, 0.3, 0.3]
    draws = draw_conversations(7, 200_000, seed=0)
    found = differences({"a": of_numbers(first, draws), "b": of_numbers(second, draws)}, "b", 0.95)["a"]
    paired = stats.ttest_rel(first, second)
    assert found.estimate.value == pytest.approx(1 / 7)
    assert found.estimate.p_value == pytest.approx(paired.pvalue, rel=0.03)
    interval = paired.confidence_interval(0.95)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((interval.low, interval.high), abs=0.003)
    # As if each had its own conversations, nothing could be said: the pairs are what tells.
    assert paired.pvalue < 0.05
    assert stats.ttest_ind(first, second).pvalue > 0.2


def test_seeds_of_both_systems_enter_the_variance() -> None:
    draws = np.array([-0.1, 0.0, 0.1])  # variance 2/300
    system = Sampled(np.array([0.1, 0.2, 0.3]), 0.2 + draws, 11)  # 1 / 300
    baseline = Sampled(np.array([0.0, 0.2]), np.full(3, 0.1), 11)  # 2 / 200
    estimate = differences({"a": system, "b": baseline}, "b", 0.95)["a"].estimate
    freedom = 2**2 / ((2 / 3) ** 2 / 10 + (1 / 3) ** 2 / 2 + 1**2 / 1)
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(0.02)
    assert (estimate.low, estimate.high) == pytest.approx((0.1 - reach, 0.1 + reach))


def test_a_difference_lies_between_minus_one_and_one() -> None:
    draws = np.linspace(0, 1, 11)
    for high, low in (([0.9, 0.1], [0.2, 0.6]), ([1.0, 1.0], [0.0, 0.0])):
        one, other = Sampled(np.array(high), draws, 4), Sampled(np.array(low), 1 - draws, 4)
        for estimate in (difference(one, other, 0.95), difference(other, one, 0.95)):
            assert -1 <= estimate.low <= estimate.high <= 1
    alone = difference(Sampled(np.array([0.9]), draws[-1:], 1), Sampled(np.array([0.2]), draws[:1], 1), 0.95)
    assert (alone.low, alone.high, alone.p_value) == (-1, 1, 1)


def test_holm_multiplies_the_smallest_p_most_and_never_turns_the_order() -> None:
    """Of four: 0.005 * 4, 0.01 * 3, 0.03 * 2; 0.04 * 1 is less than the one before and is raised to it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([0.02]) == pytest.approx([0.02])
    assert len(holm([])) == 0


def test_outcomes_go_by_the_corrected_p_value_and_its_direction() -> None:
    values = [0.5, 0.9, 0.4, 0.7, 0.8, 0.3, 0.6]
    close = [0.5, 0.8, 0.4, 0.6, 0.8, 0.3, 0.5]  # p 0.078 alone
    draws = draw_conversations(7, 50_000, seed=0)
    systems = {
        "base": of_numbers(values, draws),
        "same": of_numbers(values, draws),
        "close": of_numbers(close, draws),
        "less": of_numbers([value - 0.3 + number / 100 for number, value in enumerate(values)], draws),
        "more": of_numbers([value + 0.3 + number / 100 for number, value in enumerate(values)], draws),
    }
    found = differences(systems, "base", 0.9)
    assert {name: of.outcome for name, of in found.items()} == {
        "same": "not_significant",
        "close": "not_significant",
        "less": "worse",
        "more": "better",
    }
    assert found["same"].p_holm == 1
    assert found["close"].estimate.p_value < 0.1 <= found["close"].p_holm  # alone it would pass for worse
    assert differences({name: systems[name] for name in ("base", "close")}, "base", 0.9)["close"].outcome == "worse"


def test_a_outcome_is_of_the_side_that_the_interval_lies_on() -> None:
    corrected_for_bias = Estimate(value=0.01, low=-0.09, high=-0.01, p_value=0.01)
    assert _outcome(corrected_for_bias, 0.01, 0.95) == "worse"
    assert _outcome(Estimate(-0.01, 0.01, 0.09, 0.01), 0.01, 0.95) == "better"


TRIALS = 300


@pytest.mark.slow
def test_two_experiments_that_differ_in_their_seeds_only_are_told_apart_in_about_5_of_100_cases() -> None:
    """The bootstrap of conversations alone, which takes the seeds at hand for all there are, does so far too often."""
    generator = np.random.default_rng(11)
    called = called_by_conversations_alone = 0
    for trial in range(TRIALS):
        counts = made_conversations(generator, 6, 40, scatter=0.5)
        draws = draw_conversations(40, 300, seed=trial)
        first, second = (sample_score(macro_f1, counts[of], draws) for of in (slice(3), slice(3, 6)))
        called += difference(first, second, 0.95).p_value < 0.05
        low, high = np.quantile(first.of_draws - second.of_draws, [0.025, 0.975])
        called_by_conversations_alone += not low <= 0 <= high
    assert called / TRIALS <= 0.08
    assert called_by_conversations_alone / TRIALS > 0.2


def test_an_experiment_that_is_truly_better_is_mostly_found() -> None:
    generator, found = np.random.default_rng(12), 0
    for trial in range(50):
        state = generator.bit_generator.state
        better = made_conversations(generator, 3, 60, scatter=0.2, skill=0.7)
        generator.bit_generator.state = state  # the same conversations
        worse = made_conversations(generator, 3, 60, scatter=0.2, skill=0.45)
        draws = draw_conversations(60, 300, seed=trial)
        found += difference(*(sample_score(macro_f1, of, draws) for of in (better, worse)), 0.95).low > 0
    assert found >= 40

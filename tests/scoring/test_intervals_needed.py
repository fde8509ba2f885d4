"""What would settle a difference: numbers computed by hand from the two variances."""

import numpy as np
import pytest
from scipy import stats

from trimood.scoring.intervals import Needed, Sampled, difference, needed

CONVERSATIONS = 11
DIFFERENCE = 0.1


def two_systems(of_draws: float, first: list[float], second: list[float]) -> tuple[Sampled, Sampled]:
    """Systems that differ by DIFFERENCE, with this standard deviation over draws, and seeds that are so far off."""
    draws = np.array([-of_draws, of_draws])
    system = Sampled(0.5 + DIFFERENCE + np.array(first), 0.5 + DIFFERENCE + draws, CONVERSATIONS)
    return system, Sampled(0.5 + np.array(second), np.array([0.5, 0.5]), CONVERSATIONS)


def test_seeds_are_as_many_as_by_hand() -> None:
    """V = 0.0009 + 0.02 / n, half of 0.1 ** 2 * 2 being the variance between the seeds -0.1 and 0.1.

    n = 13: V = 0.0024385, 21.37 degrees of freedom, t = 2.0774: 0.1026, which is more than 0.1.
    n = 14: V = 0.0023286, 22.78 degrees of freedom, t = 2.0698: 0.0999, which is less.
    """
    found = needed(*two_systems(0.03, [-0.1, 0.1], [0, 0]), confidence=0.95)
    assert found.seeds == 14
    for count, freedom, is_enough in ((13, 21.37, False), (14, 22.78, True)):
        reach = stats.t.ppf(0.975, freedom) * np.sqrt(0.0009 + 0.02 / count)
        assert bool(reach < DIFFERENCE) is is_enough
    assert found.conversations is None  # two seeds leave 0.1 * t(1) = 1.27


def test_conversations_are_as_many_as_by_hand() -> None:
    """V = 0.0025 * 11 / C. C = 13: t(12) = 2.179, 0.1002, more than 0.1. C = 14: t(13) = 2.160, 0.0957, less."""
    found = needed(*two_systems(0.05, [0, 0, 0], [0, 0, 0]), confidence=0.95)
    assert found == Needed(seeds=None, conversations=14)


def test_what_is_settled_needs_no_more_than_there_is_and_its_interval_says_so() -> None:
    system, other = two_systems(0.01, [-0.02, 0.02], [0, 0])
    assert difference(system, other, 0.95).low < 0  # t with one degree of freedom for the seeds
    found = needed(system, other, 0.95)
    assert found.seeds is not None
    more = np.tile([-0.02, 0.02], 20) * np.sqrt(39 / 40 * 2)  # forty seeds with the variance of the two
    settled = Sampled(system.of_seeds.mean() + more, system.of_draws, CONVERSATIONS)
    whole = Sampled(np.full(40, 0.5), other.of_draws, CONVERSATIONS)
    assert difference(settled, whole, 0.95).low > 0
    assert needed(settled, whole, 0.95) == Needed(seeds=40, conversations=CONVERSATIONS)


def test_one_seed_or_one_conversation_says_nothing_of_others() -> None:
    assert needed(*two_systems(0.03, [0.0], [0.0]), confidence=0.95).seeds is None
    lonely = (Sampled(np.array([value] * 2), np.array([value]), 1) for value in (0.6, 0.5))
    assert needed(*lonely, confidence=0.95) == Needed(None, None)


def test_a_number_that_is_enough_is_found_although_more_are_not() -> None:
    """V_C = 18 at 44 conversations, and 1 and 1 from two seeds each; the difference is 5.5.

    V = 792 / C + 2. C = 156: V = 7.077, 23.1 degrees of freedom, t = 2.068: 5.502, more than 5.5. C = 157: V = 7.045,
    7.045 ** 2 / (5.045 ** 2 / 156 + 2) = 22.9 degrees of freedom, t = 2.069: 5.492, less.
    C = 1000: V = 2.792, freedom 3.9, t = 2.8: 4.69, less. C = 100,000: V = 2.008, freedom 2.0, t = 4.29: 6.08, more.
    """
    draws = np.sqrt(18) * np.array([-1, 1])
    first, second = np.array([4.5, 6.5]), np.array([-1.0, 1.0])
    found = needed(Sampled(first, 5.5 + draws, 44), Sampled(second, np.array([0, 0]), 44), 0.95)

    def reach(count: int) -> float:
        of_conversations = 18 * 44 / count
        freedom = (of_conversations + 2) ** 2 / (of_conversations**2 / (count - 1) + 2)
        return float(stats.t.ppf(0.975, freedom) * np.sqrt(of_conversations + 2))

    assert found == Needed(seeds=None, conversations=157)
    assert reach(157) < 5.5 <= reach(156)
    assert reach(100_000) > 5.5


def test_more_confidence_needs_more() -> None:
    systems = two_systems(0.05, [0, 0], [0, 0])
    sure, surer = (needed(*systems, confidence).conversations for confidence in (0.9, 0.99))
    assert sure is not None
    assert surer is not None
    assert sure < surer


def test_no_difference_is_never_shown() -> None:
    same = Sampled(np.array([0.4, 0.6]), np.array([0.4, 0.6]), CONVERSATIONS)
    assert needed(same, Sampled(same.of_seeds, same.of_draws[::-1], CONVERSATIONS), 0.95) == Needed(None, None)
    assert needed(same, same, 0.95).seeds is None
    assert pytest.approx(0) == difference(same, same, 0.95).value

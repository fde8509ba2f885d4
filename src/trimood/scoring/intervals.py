"""Confidence intervals of scores and their differences, over conversations and seeds."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from trimood.emotions import EMOTIONS

CountScore = Callable[[np.ndarray], np.ndarray]
"""A function from counts [..., true, predicted] to scores [...]."""


@dataclass(frozen=True)
class Sampled:
    """A system's scores on all conversations and on resamples; `conversations` is the number of conversations."""

    of_seeds: np.ndarray  # [seed], each on all conversations
    of_draws: np.ndarray  # [draw], mean over the seeds
    conversations: int


@dataclass(frozen=True)
class Estimate:
    """A score or a difference, its interval, and the two-sided p-value for the hypothesis that it is zero."""

    value: float
    low: float
    high: float
    p_value: float


def count_confusions(labels: ArrayLike, predictions: ArrayLike, conversations: ArrayLike) -> np.ndarray:
    """Computes the confusion matrix of each conversation, [conversation, true, predicted], sorted by id.

    Scores need nothing else, so ten thousand resamples take a single matrix product.
    """
    _, number = np.unique(np.asarray(conversations), return_inverse=True)
    counts = np.zeros((number.max() + 1, len(EMOTIONS), len(EMOTIONS)))
    np.add.at(counts, (number, np.asarray(labels), np.asarray(predictions)), 1)
    return counts


def f1_of_classes(counts: np.ndarray) -> np.ndarray:
    """F1 [..., class] of counts [..., true, predicted]; 0 for a class that is absent and never predicted."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    true_and_predicted = counts.sum(-1) + counts.sum(-2)
    return np.divide(2 * right, true_and_predicted, out=np.zeros_like(right), where=true_and_predicted > 0)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Unweighted mean over all seven classes, as in `metrics.summary_scores`."""
    return np.asarray(f1_of_classes(counts).mean(-1))


def weighted_f1(counts: np.ndarray) -> np.ndarray:
    """Mean over the classes, weighted by their support, as in `metrics.summary_scores`."""
    return np.asarray((f1_of_classes(counts) * counts.sum(-1)).sum(-1) / counts.sum((-2, -1)))


def draw_conversations(conversations: int, draws: int, seed: int) -> np.ndarray:
    """Draws how often each conversation is in each resample, [draw, conversation]; use it for all systems.

    Each resample draws n - 1 of n conversations with replacement: drawing n would understate the variance by the factor
    (n - 1) / n, which matters for few conversations (Rao and Wu 1988, J. Am. Stat. Assoc. 83, 231-241). Raises
    ValueError for fewer than two conversations.
    """
    if conversations < 2:
        raise ValueError(
            f"the test split has {conversations} conversation(s); an interval needs at least two. Use a corpus "
            "or a split with more conversations."
        )
    share = np.full(conversations, 1 / conversations)
    return np.random.default_rng(seed).multinomial(conversations - 1, share, size=draws)


def sample_score(score: CountScore, counts: np.ndarray, draws: np.ndarray) -> Sampled:
    """Scores a system on all conversations and on each draw, from counts [seed, conversation, true, predicted]."""
    flat = counts.reshape(*counts.shape[:2], -1)  # [seed, conversation, cell]
    drawn = [score((draws @ of_seed).reshape(len(draws), *counts.shape[2:])) for of_seed in flat]
    return Sampled(score(counts.sum(axis=1)), np.mean(drawn, axis=0), counts.shape[1])


def estimate(sampled: Sampled, confidence: float) -> Estimate:
    """Estimates the mean over seeds; the interval covers other conversations and, given several seeds, other seeds.

    The interval is computed on the scale arcsin(sqrt(score)), where the variance depends little on the score (Bartlett
    1947, Biometrics 3, 39-52), so it lies in [0, 1] and is not symmetric near 0 and 1. A score of exactly 0 or 1 shows
    no variance: there, the interval reaches at least as far as that of Clopper and Pearson (1934, Biometrika 26,
    404-413) for as many conversations, none or all of which are right.
    """

    def angles(scores: ArrayLike) -> np.ndarray:
        return np.arcsin(np.sqrt(np.clip(scores, 0, 1)))

    value, conversations = float(sampled.of_seeds.mean()), sampled.conversations
    found = interval(
        float(angles(value)),
        angles(sampled.of_draws),
        conversations,
        [angles(sampled.of_seeds)],
        confidence,
        within=(0, np.pi / 2),
    )
    low, high = (float(np.sin(end) ** 2) for end in (found.low, found.high))
    exact = ((1 - confidence) / 2) ** (1 / conversations)
    if value == 0:
        high = max(high, 1 - exact)
    if value == 1:
        low = min(low, exact)
    return Estimate(value, min(low, value), max(high, value), found.p_value)


def interval(
    value: float,
    of_draws: np.ndarray,
    conversations: int,
    seeds: Sequence[np.ndarray],
    confidence: float,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """Computes a t interval from two sources of variance, resampled conversations and seeds; it stays `within` bounds.

    The variance is that between draws plus, for each system, that between its seeds divided by their number. The
    degrees of freedom are those of Welch and Satterthwaite. The centre is corrected by the bias of the draws, because
    macro F1 is lower on few conversations, where rare emotions are missing. A single seed adds no variance, so the
    interval is then valid for that training only. From a single conversation nothing follows for others.
    """
    from scipy import stats

    if conversations < 2:
        return Estimate(float(value), *within, 1.0)
    error, freedom = _standard_error(_variances(of_draws, conversations, seeds))
    if freedom is None:
        return Estimate(float(value), float(value), float(value), 1.0 if value == 0 else 0.0)
    centre = np.clip(2 * value - float(of_draws.mean()), *within)
    reach = stats.t.ppf((1 + confidence) / 2, freedom) * error
    low, high = np.clip([centre - reach, centre + reach], *within)
    p_value = 2 * stats.t.sf(abs(centre) / error, freedom)
    return Estimate(float(value), float(low), float(high), float(p_value))


def _variances(of_draws: np.ndarray, conversations: int, seeds: Sequence[np.ndarray]) -> list[tuple[float, int]]:
    """The parts of the variance, each with its number: of conversations first, then of the seeds of each system."""
    parts = [(float(np.var(of_draws)), conversations)]
    return parts + [(float(np.var(of, ddof=1)) / len(of), len(of)) for of in seeds if len(of) > 1]


def _standard_error(parts: Sequence[tuple[float, int]]) -> tuple[float, float | None]:
    """The root of the summed variances, and its degrees of freedom by Welch and Satterthwaite; None: no variance."""
    variance = sum(part for part, _ in parts)
    if variance < _ROUNDING:  # the same score on every draw and seed
        return 0.0, None
    return float(np.sqrt(variance)), variance**2 / sum(part**2 / (number - 1) for part, number in parts)


_ROUNDING = 1e-30
"""Variance that rounding errors alone give to equal scores."""


Outcome = Literal["better", "worse", "not_significant"]


@dataclass(frozen=True)
class Difference:
    """System minus baseline: estimate, p-value corrected for the number of systems, and outcome."""

    estimate: Estimate
    p_holm: float
    outcome: Outcome


def differences(samples: Mapping[str, Sampled], baseline: str, confidence: float) -> dict[str, Difference]:
    """Compares each system with the baseline, with Holm's correction (Holm 1979, Scand. J. Stat. 6, 65-70).

    The comparison is paired: on every draw, both are scored on the same conversations. Seeds count as independent even
    if two experiments use the same number, because it initialises different networks.
    """
    of_baseline = samples[baseline]
    others = {name: of for name, of in samples.items() if name != baseline}
    return _corrected({name: difference(of, of_baseline, confidence) for name, of in others.items()}, confidence)


def differences_from(samples: Mapping[str, Sampled], system: str, confidence: float) -> dict[str, Difference]:
    """One system minus each of the others, corrected and paired as in `differences`."""
    others = {name: of for name, of in samples.items() if name != system}
    return _corrected({name: difference(samples[system], of, confidence) for name, of in others.items()}, confidence)


def _corrected(estimates: Mapping[str, Estimate], confidence: float) -> dict[str, Difference]:
    corrected = holm([of.p_value for of in estimates.values()])
    return {
        name: Difference(of, float(p), _outcome(of, float(p), confidence))
        for (name, of), p in zip(estimates.items(), corrected, strict=True)
    }


def corrected_confidence(others: Sequence[Estimate], confidence: float) -> float:
    """The confidence of an interval that excludes 0 exactly if Holm's correction, beside `others`, finds a difference.

    Holm compares the p-value with alpha / k, where k is at most the number of comparisons; `others` decide which k.
    """
    alpha, p_others = 1 - confidence, [of.p_value for of in others]
    just_below = 1 - 1e-9
    counts = range(1, len(p_others) + 2)
    count = next(k for k in counts if holm([alpha / k * just_below, *p_others])[0] < alpha)
    return 1 - alpha / count


def holm(p_values: list[float]) -> np.ndarray:
    """Corrects p-values for their number by Holm's method; keeps their order."""
    from statsmodels.stats.multitest import multipletests

    return np.asarray(multipletests(p_values, method="holm")[1]) if p_values else np.array([])


def difference(system: Sampled, baseline: Sampled, confidence: float) -> Estimate:
    """Estimates system minus baseline in [-1, 1], both as means over seeds; the p-value is not corrected."""
    value = float(system.of_seeds.mean() - baseline.of_seeds.mean())
    of_draws = system.of_draws - baseline.of_draws
    seeds = [system.of_seeds, baseline.of_seeds]
    return interval(value, of_draws, system.conversations, seeds, confidence, within=(-1, 1))


def _outcome(of: Estimate, p_holm: float, confidence: float) -> Outcome:
    if p_holm >= 1 - confidence:
        return "not_significant"
    return "better" if of.low + of.high > 0 else "worse"  # the side of zero that the centre of the interval is on


@dataclass(frozen=True)
class Needed:
    """How many seeds of each system would settle a difference, or else how many test conversations.

    `seeds` is None if no number up to MOST_SEEDS is enough, or if a system has one seed, whose variance is not known;
    `conversations` is None if no number up to MOST_CONVERSATIONS is enough. Both are None if there is one test
    conversation, from which nothing is known of others.
    """

    seeds: int | None
    conversations: int | None


MOST_SEEDS, MOST_CONVERSATIONS = 100, 100_000
"""More are not asked for: nobody trains or annotates so many for one comparison."""


def needed(system: Sampled, other: Sampled, confidence: float) -> Needed:
    """The least numbers at which the interval of `difference` would exclude 0, if the difference is as measured.

    A difference d of means over C conversations and n seeds has the variance V_C + s1^2 / n + s2^2 / n, where s1 and s2
    are the standard deviations between seeds, and V_C falls as 1 / C. The interval excludes 0 if t * sqrt(V) < |d|,
    solved here for n with the present C, and for C with the present seeds, with the quantile t of `interval`. This is
    the number of observations for a given half-width (Cochran 1977, Sampling Techniques, section 4.6) for two sources
    of variance. The true difference is not the measured one, so take the numbers as an order of magnitude.
    """
    from scipy import stats

    of_draws, conversations = system.of_draws - other.of_draws, system.conversations
    if conversations < 2:
        return Needed(None, None)
    seeds = [system.of_seeds, other.of_seeds]
    centre = 2 * float(system.of_seeds.mean() - other.of_seeds.mean()) - float(of_draws.mean())
    (of_conversations, _), *of_seeds = _variances(of_draws, conversations, seeds)

    def excludes_zero(parts: Sequence[tuple[float, int]]) -> bool:
        error, freedom = _standard_error(parts)
        reach = 0.0 if freedom is None else stats.t.ppf((1 + confidence) / 2, freedom) * error
        return bool(reach < abs(centre))

    def with_seeds(count: int) -> bool:
        scaled = [(variance * number / count, count) for variance, number in of_seeds]
        return excludes_zero([(of_conversations, conversations), *scaled])

    def with_conversations(count: int) -> bool:
        return excludes_zero([(of_conversations * conversations / count, count), *of_seeds])

    present = max(map(len, seeds))
    # A number above one that is enough need not be enough: as the part of the conversations in the variance falls, the
    # degrees of freedom fall to those of the seeds, and the quantile grows.
    return Needed(
        seeds=_least(present, MOST_SEEDS, with_seeds) if len(of_seeds) == len(seeds) else None,
        conversations=_least(conversations, MOST_CONVERSATIONS, with_conversations),
    )


def _least(present: int, most: int, is_enough: Callable[[int], bool]) -> int | None:
    """The least number from `present` to `most` that is enough; None if there is none.

    Numbers are tried in steps of STEP, so a range of numbers that are enough may be missed if it is shorter than that.
    """
    too_few, tried = present - 1, present
    while not is_enough(tried):
        if tried == most:
            return None
        too_few, tried = tried, min(most, max(tried + 1, int(tried * (1 + STEP))))
    between = range(too_few + 1, tried + 1)
    return between[bisect_left(between, True, key=is_enough)]


STEP = 0.05
"""By how much of itself a number of seeds or conversations is raised until it is enough."""

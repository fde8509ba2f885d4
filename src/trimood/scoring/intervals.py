"""Scores and differences of scores with their intervals, which account for the draw of conversations and of seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from trimood.emotions import EMOTIONS

CountScore = Callable[[np.ndarray], np.ndarray]
"""From counts [..., true, predicted] to a number [...]."""


@dataclass(frozen=True)
class Sampled:
    """A system's score on the conversations at hand and on draws of them; `conversations` is how many there are."""

    of_seeds: np.ndarray  # [seed], each on all conversations
    of_draws: np.ndarray  # [draw], mean over the seeds
    conversations: int


@dataclass(frozen=True)
class Estimate:
    """A score or a difference, its interval, and the two-sided p-value of its being zero."""

    value: float
    low: float
    high: float
    p_value: float


def count_confusions(labels: ArrayLike, predictions: ArrayLike, conversations: ArrayLike) -> np.ndarray:
    """How often each conversation has a true and a predicted emotion, [conversation, true, predicted].

    Conversations are in the sorted order of their ids. All that a score needs to know of a conversation is in here, so
    that ten thousand draws of conversations are one product of matrices.
    """
    _, number = np.unique(np.asarray(conversations), return_inverse=True)
    counts = np.zeros((number.max() + 1, len(EMOTIONS), len(EMOTIONS)))
    np.add.at(counts, (number, np.asarray(labels), np.asarray(predictions)), 1)
    return counts


def f1_of_classes(counts: np.ndarray) -> np.ndarray:
    """F1 [..., class] of counts [..., true, predicted]; 0 for a class that neither occurs nor is predicted."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    true_and_predicted = counts.sum(-1) + counts.sum(-2)
    return np.divide(2 * right, true_and_predicted, out=np.zeros_like(right), where=true_and_predicted > 0)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean over all seven classes, as `metrics.summary_scores` has it."""
    return np.asarray(f1_of_classes(counts).mean(-1))


def weighted_f1(counts: np.ndarray) -> np.ndarray:
    """Mean over the classes, each as often as it truly occurs, as `metrics.summary_scores` has it."""
    return np.asarray((f1_of_classes(counts) * counts.sum(-1)).sum(-1) / counts.sum((-2, -1)))


def draw_conversations(conversations: int, draws: int, seed: int) -> np.ndarray:
    """How often each conversation was drawn, [draw, conversation]; the same draws serve every system.

    One fewer than there are is drawn, with replacement: as many would understate the variance by (n - 1) / n, which
    shows where conversations are few (Rao and Wu 1988, J. Am. Stat. Assoc. 83, 231-241). Raises ValueError.
    """
    if conversations < 2:
        raise ValueError(
            f"the test set has {conversations} conversation(s): from one alone, nothing can be said of another draw. "
            "At least two are needed."
        )
    share = np.full(conversations, 1 / conversations)
    return np.random.default_rng(seed).multinomial(conversations - 1, share, size=draws)


def sample_score(score: CountScore, counts: np.ndarray, draws: np.ndarray) -> Sampled:
    """The score of a system whose seeds have `counts` [seed, conversation, true, predicted]."""
    flat = counts.reshape(*counts.shape[:2], -1)  # [seed, conversation, cell]
    drawn = [score((draws @ of_seed).reshape(len(draws), *counts.shape[2:])) for of_seed in flat]
    return Sampled(score(counts.sum(axis=1)), np.mean(drawn, axis=0), counts.shape[1])


def estimate(sampled: Sampled, confidence: float) -> Estimate:
    """The mean over seeds, and where it would be with other conversations and, of several seeds, other seeds."""
    return interval(sampled.of_seeds.mean(), sampled.of_draws, sampled.conversations, [sampled.of_seeds], confidence)


def interval(
    value: float, of_draws: np.ndarray, conversations: int, seeds: Sequence[np.ndarray], confidence: float
) -> Estimate:
    """A t interval from two sources of variance: draws of conversations, and the scatter between seeds.

    The variance between draws and, for each system that enters, that between its seeds divided by their number add up.
    Degrees of freedom are Welch's and Satterthwaite's: three seeds know little of a fourth. The centre is moved by the
    bias that the draws show: macro F1 is too low on few conversations, as rare emotions are missing from some.
    A system of one seed adds nothing, so its interval speaks of that one training only.
    """
    from scipy import stats

    parts = [(float(np.var(of_draws)), conversations - 1)]
    parts += [(float(np.var(of, ddof=1)) / len(of), len(of) - 1) for of in seeds if len(of) > 1]
    variance = sum(part for part, _ in parts)
    if variance == 0:  # the same on every draw and seed
        return Estimate(value, value, value, 1.0 if value == 0 else 0.0)
    freedom = variance**2 / sum(part**2 / of_part for part, of_part in parts)
    centre, error = 2 * value - float(of_draws.mean()), np.sqrt(variance)
    reach = stats.t.ppf((1 + confidence) / 2, freedom) * error
    p_value = 2 * stats.t.sf(abs(centre) / error, freedom)
    return Estimate(float(value), float(centre - reach), float(centre + reach), float(p_value))


Outcome = Literal["better", "worse", "cannot be told apart"]


@dataclass(frozen=True)
class Difference:
    """System minus baseline: its interval, its p-value corrected for all systems compared, and that in plain words."""

    estimate: Estimate
    p_holm: float
    verdict: Outcome


def differences(samples: Mapping[str, Sampled], baseline: str, confidence: float) -> dict[str, Difference]:
    """Each system against the baseline, Holm-corrected over all of them (Holm 1979, Scand. J. Stat. 6, 65-70).

    Paired: on every draw, both are scored on the same conversations. Seeds are taken as independent, also where two
    experiments share a number, as it starts different networks.
    """
    of_baseline = samples[baseline]
    estimates = {name: difference(of, of_baseline, confidence) for name, of in samples.items() if name != baseline}
    corrected = holm([of.p_value for of in estimates.values()])
    return {
        name: Difference(of, float(p), _verdict(of, float(p), confidence))
        for (name, of), p in zip(estimates.items(), corrected, strict=True)
    }


def holm(p_values: list[float]) -> np.ndarray:
    """P-values corrected for their number, in the order given."""
    from statsmodels.stats.multitest import multipletests

    return np.asarray(multipletests(p_values, method="holm")[1]) if p_values else np.array([])


def difference(system: Sampled, baseline: Sampled, confidence: float) -> Estimate:
    """System minus baseline, means over their seeds; the p-value is not corrected yet."""
    value = float(system.of_seeds.mean() - baseline.of_seeds.mean())
    of_draws = system.of_draws - baseline.of_draws
    return interval(value, of_draws, system.conversations, [system.of_seeds, baseline.of_seeds], confidence)


def _verdict(of: Estimate, p_holm: float, confidence: float) -> Outcome:
    if p_holm >= 1 - confidence:
        return "cannot be told apart"
    return "better" if of.low + of.high > 0 else "worse"  # the side of zero that the p-value speaks of

"""How far systems are from a baseline on the same conversations, and which differences can be told from chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trimood.scoring.intervals import Estimate, Sampled, interval

Verdict = Literal["better", "worse", "cannot be told apart"]


@dataclass(frozen=True)
class Difference:
    """System minus baseline: its interval, its p-value corrected for all systems compared, and that in plain words."""

    estimate: Estimate
    p_holm: float
    verdict: Verdict


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


def _verdict(of: Estimate, p_holm: float, confidence: float) -> Verdict:
    if p_holm >= 1 - confidence:
        return "cannot be told apart"
    return "better" if of.low + of.high > 0 else "worse"  # the side of zero that the p-value speaks of

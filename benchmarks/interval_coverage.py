"""How often the intervals of `scoring.intervals` cover the true score, and how often differences are found in vain.

python benchmarks/interval_coverage.py [TRIALS]

Prints the table of decision 0017, in about four minutes with 300 trials. Conversations and trainings are those of
`tests/support/made_conversations.py`, whose true score is computed from very many of both.
"""

import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "tests")]

from support.made_conversations import made_conversations  # noqa: E402
from trimood.scoring.intervals import (  # noqa: E402
    Sampled,
    difference,
    draw_conversations,
    estimate,
    interval,
    macro_f1,
    sample_score,
)

CONVERSATIONS, SEEDS = (6, 12, 50, 341), (1, 2, 3, 5)
SKILLS = {0.55: "0.50", 0.95: "0.89"}
"""A right answer's chance before its conversation's pull, and the macro F1 that it gives."""
DRAWS, LEVEL = 400, 0.95


def truth(scatter: float, skill: float) -> float:
    """The score of endless conversations; with `scatter`, of endless trainings too."""
    trainings, conversations = (60, 1500) if scatter else (1, 60_000)
    counts = made_conversations(np.random.default_rng(99), trainings, conversations, scatter, skill)
    return float(macro_f1(counts.sum(axis=1)).mean())


def scored(generator: np.random.Generator, seeds: int, conversations: int, skill: float, trial: int) -> list[Sampled]:
    """Two experiments that differ in their seeds alone."""
    counts = made_conversations(generator, 2 * seeds, conversations, 0.5 if seeds > 1 else 0.0, skill)
    draws = draw_conversations(conversations, DRAWS, seed=trial)
    return [sample_score(macro_f1, part, draws) for part in (counts[:seeds], counts[seeds:])]


def measure(seeds: int, conversations: int, skill: float, trials: int) -> list[float]:
    """Shares of trials: our interval covers; Student's, unbounded, covers, leaves the range; bootstrap's covers;
    a difference is found by us, by the bootstrap."""
    true, generator = truth(0.5 if seeds > 1 else 0.0, skill), np.random.default_rng(7)
    found = np.zeros(6)
    for trial in range(trials):
        first, second = scored(generator, seeds, conversations, skill, trial)
        ours = estimate(first, LEVEL)
        plain = interval(first.of_seeds.mean(), first.of_draws, conversations, [first.of_seeds], LEVEL)
        low, high = np.quantile(first.of_draws, [0.025, 0.975])
        below, above = np.quantile(first.of_draws - second.of_draws, [0.025, 0.975])
        found += (
            ours.low <= true <= ours.high,
            plain.low <= true <= plain.high,
            plain.low < 0 or plain.high > 1,
            low <= true <= high,
            difference(first, second, LEVEL).p_value < 1 - LEVEL,
            not below <= 0 <= above,
        )
    return list(found / trials)


if __name__ == "__main__":
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    names = (
        "ours covers",
        "Student's covers",
        "Student's leaves 0 to 1",
        "bootstrap covers",
        "we differ",
        "it differs",
    )
    print(f"| macro F1 | conversations | seeds | {' | '.join(names)} |\n|{'--:|' * (3 + len(names))}")
    for skill, score in SKILLS.items():
        for conversations in CONVERSATIONS:
            for seeds in SEEDS:
                cells = " | ".join(f"{100 * of:.0f} %" for of in measure(seeds, conversations, skill, trials))
                print(f"| {score} | {conversations} | {seeds} | {cells} |", flush=True)

"""Training, validation and held-out utterances, drawn by whole conversations."""

import logging
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimood.conversations.table import class_counts, conform
from trimood.emotions import EMOTIONS

Unit = Literal["conversation", "utterance"]

_log = logging.getLogger(__name__)


class SplitError(ValueError):
    """A table that cannot be divided as asked; the message names the split, the fraction and what would work."""


def split_utterances(
    table: pd.DataFrame, unit: Unit, validation_fraction: float, test_fraction: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Training, validation and held-out rows of a labelled table; each row lands in exactly one of them.

    Fractions are shares of all utterances, met class by class as nearly as whole units allow; `test_fraction` 0
    holds nothing out. Unit "conversation" keeps every conversation in one split. Same seed, same splits, whatever
    the order of the rows. Raises SplitError where a split would be empty; a class that validation or held-out
    rows lack is named in the log.
    """
    table = conform(table).sort_values(["conversation_id", "utterance_id"], ignore_index=True)
    if table["label"].isna().any():
        raise SplitError(
            f"{int(table['label'].isna().sum())} utterances have no label; only labelled ones can be split"
        )
    units = _units(table, unit)
    draws = np.random.default_rng(seed)
    counts = _counts_per_unit(units, table["label"].to_numpy(dtype=int))
    held_out = np.zeros(len(counts), dtype=bool)
    if test_fraction > 0:
        held_out = _draw(counts, ~held_out, test_fraction, draws, f"held-out test (test_fraction) of {unit}s")
    validation = _draw(counts, ~held_out, validation_fraction, draws, f"validation (validation_fraction) of {unit}s")
    training = ~(held_out | validation)
    if not training.any():
        raise SplitError(
            f"training: no {unit} is left of {len(counts)}; got validation_fraction {validation_fraction} and "
            f"test_fraction {test_fraction}. Lower them, or bring more {unit}s."
        )
    parts = tuple(table[chosen[units]].reset_index(drop=True) for chosen in (training, validation, held_out))
    for name, part in zip(("validation", "held-out test"), parts[1:], strict=True):
        _name_missing_classes(name, part)
    return parts[0], parts[1], parts[2]


def _units(table: pd.DataFrame, unit: Unit) -> NDArray[np.int64]:
    """Number of the unit that each row belongs to, [utterance]."""
    if unit == "utterance":
        return np.arange(len(table))
    return pd.factorize(table["conversation_id"])[0]


def _counts_per_unit(units: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Utterances per unit and class, [unit, class]."""
    counts = np.zeros((int(units.max(initial=-1)) + 1, len(EMOTIONS)))
    np.add.at(counts, (units, labels), 1)
    return counts


def _draw(
    counts: NDArray[np.float64], free: NDArray[np.bool_], fraction: float, draws: np.random.Generator, name: str
) -> NDArray[np.bool_]:
    """Free units in random order, each taken if it brings the class counts nearer to `fraction` of all, [unit]."""
    if round(fraction * len(counts)) < 1:
        raise SplitError(
            f"{name}: {fraction} of {len(counts)} gives none. Raise the fraction"
            + (f" to at least {1 / len(counts):.2g}" if len(counts) else "")
            + ", or bring more data."
        )
    wanted = fraction * counts.sum(axis=0)
    weights = 1 / np.maximum(wanted, 1)
    taken = np.zeros(len(counts), dtype=bool)
    gap = wanted.copy()
    order = draws.permutation(np.flatnonzero(free))
    for unit in order:
        if (weights * (gap - counts[unit]) ** 2).sum() < (weights * gap**2).sum():
            taken[unit] = True
            gap -= counts[unit]
    if not taken.any() and len(order):
        # Every single conversation overshoots: the one that overshoots least is what whole conversations allow.
        taken[order[(weights * (gap - counts[order]) ** 2).sum(axis=1).argmin()]] = True
    return taken


def _name_missing_classes(name: str, part: pd.DataFrame) -> None:
    missing = [emotion for emotion, count in class_counts(part).items() if count == 0]
    if missing and len(part):
        _log.warning(
            "%s: no utterance of %s among %d; their F1 there is 0 by definition and pulls the macro F1 down.",
            name,
            ", ".join(missing),
            len(part),
        )

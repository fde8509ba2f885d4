"""Scores, intervals and outcomes in words, the same on every page."""

from trimood.scoring.intervals import Estimate, Outcome
from trimood.scoring.systems import Score

OUTCOMES: dict[Outcome, str] = {"better": "better", "worse": "worse", "not_significant": "no significant difference"}


def percent(confidence: float) -> str:
    """A confidence level as a percentage: 0.95 gives "95 %"."""
    return f"{100 * confidence:g} %"


def sentence(words: str) -> str:
    """Words with a capital letter and a full stop."""
    return f"{words[0].upper()}{words[1:]}."


def interval(of: Score | Estimate, form: str = ".3f") -> str:
    """The two ends, which stay in one line: "0.350 to 0.470"."""
    return f"{of.low:{form}}\u00a0to\u00a0{of.high:{form}}"


def with_interval(of: Score | Estimate, form: str = ".3f") -> str:
    """The value and its interval: "0.412 [0.350 to 0.470]"."""
    return f"{of.value:{form}} [{interval(of, form)}]"


def p_value(value: float) -> str:
    """A p-value with three decimals, or "< 0.001"."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"

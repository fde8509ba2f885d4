"""The answers to what a reader of a comparison asks first, in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trimood.emotions import EMOTIONS
from trimood.reports.html import in_markdown
from trimood.reports.next_step import AS_BEFORE, what_next
from trimood.reports.wording import OUTCOMES, interval, percent, with_interval
from trimood.scoring.comparison import Comparison
from trimood.scoring.intervals import MOST_CONVERSATIONS, MOST_SEEDS, Needed
from trimood.scoring.systems import System
from trimood.scoring.verdict import WORDS, candidates, not_beaten, words_alone

CHANCE = ("majority", "all neutral")
"""The references that read nothing."""

WORST = 2
"""Number of emotions that are named as recognised worst."""


@dataclass(frozen=True)
class Answer:
    """A question, its answer in a few words, sentences that support it, and commands to run."""

    question: str
    short: str
    sentences: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bar:
    """A row of the picture beside the answers: a system, its part in them, and its score from 0 to 1."""

    name: str
    part: str
    value: float
    low: float
    high: float


def answers(comparison: Comparison) -> list[Answer]:
    """Which is best, whether it is better than words alone, where it fails, whether to trust it, what to run next."""
    best = comparison.systems[comparison.verdict.best]
    return [
        _which_is_best(comparison, best),
        _better_than_words(comparison, best),
        _where_it_fails(best),
        _can_it_be_trusted(comparison, best),
        Answer("What do I run next?", *what_next(comparison)),
    ]


def bars(comparison: Comparison) -> list[Bar]:
    """The best experiment and what it has to beat: runner-up, baseline, words alone, chance; each system once."""
    verdict = comparison.verdict
    parts = {
        verdict.best: "best by validation",
        **({verdict.runner_up: "runner-up by validation"} if verdict.runner_up else {}),
    }
    for name, part in (
        (comparison.settings.baseline, "baseline"),
        (score_to_beat(comparison), "words alone, best by validation"),
        (_strongest(WORDS, comparison), "words alone, no neural network"),
        (CHANCE[0], "chance: the most frequent emotion"),
    ):
        if name in comparison.systems:
            parts.setdefault(name, part)
    scores = {name: comparison.systems[name].macro_f1 for name in parts}
    return [Bar(name, part, scores[name].value, scores[name].low, scores[name].high) for name, part in parts.items()]


def _which_is_best(comparison: Comparison, best: System) -> Answer:
    verdict = comparison.verdict
    chosen_from = candidates(comparison.systems)
    imported = sum(bool(of.training and of.training.imported) for of in comparison.systems.values())
    how = (
        f"It has the highest validation macro F1 of {len(chosen_from)} experiments, {best.validation_macro_f1:.3f}; "
        "test scores take no part in the choice."
        if len(chosen_from) > 1
        else "It is the only experiment."
    )
    if imported == len(chosen_from):
        how += " It was trained elsewhere, perhaps on these validation utterances."
    elif imported:
        how += " Weights that were trained elsewhere take no part either: perhaps they know the validation utterances."
    score = (
        f"Its test macro F1 is {best.macro_f1.value:.3f}, {percent(comparison.settings.confidence)} interval "
        f"{interval(best.macro_f1)}."
    )
    sentences = [how, score]
    if verdict.runner_up:
        sentences.append(f"The runner-up is {_against(verdict.runner_up, comparison)}.")
        if verdict.differences[verdict.runner_up].outcome == "worse":
            sentences.append(
                f"So {verdict.runner_up} is significantly better on the test split: validation and test disagree."
            )
    return Answer("Which is best?", verdict.best, tuple(sentences))


def _better_than_words(comparison: Comparison, best: System) -> Answer:
    """Better than words alone is only what is better than all that read words alone."""
    verdict, words = comparison.verdict, words_alone(comparison.systems, comparison.verdict.best)
    strongest, undecided = score_to_beat(comparison), not_beaten(verdict.differences, words)
    others = ""
    if best.training and best.training.modalities == "text":
        others = "others "
        short = f"{verdict.best} reads nothing but words itself"
    elif not undecided:
        value = verdict.differences[strongest].estimate.value
        short = f"Yes: {value:+.3f} to {strongest}, the strongest that reads words alone"
    else:
        value = verdict.differences[undecided].estimate.value
        short = {
            "worse": f"No, {abs(value):.3f} below {undecided}",
            "not_significant": f"Not shown: {value:+.3f} to {undecided} may be chance",
        }[verdict.differences[undecided].outcome]
    compared = "; ".join(_against(name, comparison) for name in words)
    sentences = [f"Compared with all {others}that read words alone: {compared}."]
    baseline = comparison.settings.baseline
    if baseline not in (verdict.best, *words, *CHANCE):
        sentences.append(f"The baseline is {_against(baseline, comparison)}.")
    by_chance = " and ".join(_against(name, comparison) for name in CHANCE)
    sentences.append(f"Chance is {by_chance}.")
    return Answer("Is it better than words alone?", short, tuple(sentences))


def score_to_beat(comparison: Comparison) -> str:
    """The system with the highest validation macro F1 of those that read words alone, the best one left out."""
    return _strongest(words_alone(comparison.systems, comparison.verdict.best), comparison)


def _where_it_fails(best: System) -> Answer:
    tested = best.tested_emotions
    worst = sorted(tested, key=lambda emotion: best.f1_of_classes[emotion])[:WORST]
    short = " and ".join(f"{emotion} (F1 {best.f1_of_classes[emotion]:.2f})" for emotion in worst)
    sentences = []
    never = [
        f"{emotion} ({count} of {len(best.seeds)} seeds)"
        for emotion, count in best.never_predicted.items()
        if emotion in tested
    ]
    if never:
        sentences.append(f"Never predicted: {', '.join(never)}.")
    if absent := [emotion for emotion in EMOTIONS if emotion not in tested]:
        sentences.append(f"No test utterance has {' or '.join(absent)}.")
    mistakes = [
        (count, true, predicted)
        for true, row in zip(EMOTIONS, best.confusion_matrix, strict=True)
        for predicted, count in zip(EMOTIONS, row, strict=True)
        if true != predicted
    ]
    count, true, predicted = max(mistakes, key=lambda mistake: mistake[0])
    if count:
        of = sum(best.confusion_matrix[EMOTIONS.index(true)])
        counted = f"{count} of {of} answers to utterances with {true}"
        sentences.append(f"The most frequent mistake is {predicted} in place of {true}: {counted}, over all seeds.")
    return Answer("Where does it fail?", short, tuple(sentences))


def _can_it_be_trusted(comparison: Comparison, best: System) -> Answer:
    score, seeds = best.macro_f1, len(best.seeds)
    level = percent(comparison.settings.confidence)
    one = "; it is of this one training, and says nothing of other seeds" if seeds == 1 else ""
    sentences = [
        f"The {level} interval is computed from {comparison.test_conversations} test conversations and "
        f"{_counted(seeds, 'seed')}{one}."
    ]
    if settled := comparison.verdict.settled_by:
        sentences.append(_unknown(comparison, settled))
    if warnings := dict.fromkeys(
        remark.partition(":")[0] for remark in (*comparison.remarks, *comparison.shortcomings)
    ):
        sentences.append(f"Warnings: {'; '.join(warnings)}.")
    return Answer(
        f"Can I trust {score.value:.2f}?", f"It lies between {score.low:.2f} and {score.high:.2f}", tuple(sentences)
    )


def _unknown(comparison: Comparison, settled: Needed) -> str:
    """What would tell the best experiment and the runner-up apart, and what of this is not known."""
    verdict = comparison.verdict
    pair = [comparison.systems[name] for name in (verdict.best, verdict.runner_up) if name]
    seeds = max(len(of.seeds) for of in pair)
    words = f"Not known: whether {verdict.best} is better than {verdict.runner_up}."
    if comparison.test_conversations == 1:
        return f"{words} Nor is known what would show it: one test conversation says nothing of others."
    of_one_seed = min(len(of.seeds) for of in pair) == 1
    ways = []
    if settled.seeds:
        ways.append(f"with about {settled.seeds} seeds of each (now {seeds})")
    if settled.conversations:
        ways.append(f"with about {settled.conversations:,} test conversations (now {comparison.test_conversations})")
    if ways:
        words += f" If the difference is as measured, it would be significant {', or '.join(ways)}."
    elif of_one_seed:
        words += f" {MOST_CONVERSATIONS:,} test conversations would not show a difference as small as the measured one."
    else:
        words += (
            f" Neither {MOST_SEEDS} seeds nor {MOST_CONVERSATIONS:,} test conversations alone would show a difference "
            "as small as the measured one."
        )
    if of_one_seed:
        words += " From one seed, the variance between seeds is not known, nor how many seeds would show it."
    return words


def _strongest(names: Iterable[str], comparison: Comparison) -> str:
    """The one with the highest validation macro F1."""
    return max(names, key=lambda name: comparison.systems[name].validation_macro_f1)


def _against(other: str, comparison: Comparison) -> str:
    """How the best experiment compares: "exp2 (difference +0.120 [+0.050 to +0.190], better)"."""
    found = comparison.verdict.differences[other]
    return f"{other} (difference {with_interval(found.estimate, '+.3f')}, {OUTCOMES[found.outcome]})"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def in_short(given: Sequence[Answer]) -> str:
    """The answers without what supports them, as a paragraph of Markdown, for the description of all trainings."""
    parts = []
    for answer in given:
        commands = ", then ".join(f"`{command}`" for command in answer.commands)
        needed = f" {AS_BEFORE}" if AS_BEFORE in answer.sentences else ""
        words = f"**{answer.question}** {in_markdown(answer.short)}."
        parts.append(f"{words} {commands}.{needed}" if commands else words)
    return " ".join(parts)


def as_markdown(given: Sequence[Answer]) -> str:
    """The answers as a list in Markdown, for the description of the run in MLflow."""
    lines = []
    for answer in given:
        words = " ".join(in_markdown(words) for words in (f"{answer.short}.", *answer.sentences))
        lines.append(f"- **{answer.question}** {words}")
        lines += [f"  `{command}`" for command in answer.commands]
    return "\n".join(lines)

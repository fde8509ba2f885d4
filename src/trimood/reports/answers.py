"""The answers to what a reader of a comparison asks first, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from trimood.emotions import EMOTIONS
from trimood.reports.html import in_markdown
from trimood.reports.wording import OUTCOMES, interval, percent, with_interval
from trimood.scoring.comparison import Comparison
from trimood.scoring.intervals import MOST_CONVERSATIONS, MOST_SEEDS, Needed
from trimood.scoring.systems import System

WORDS_ALONE = "TF-IDF"
"""The reference that reads words and has no neural network."""

CHANCE = ("majority", "all neutral")
"""The references that read nothing."""

WORST = 2
"""Number of emotions that are named as recognised worst."""

SEEDS = 3
"""Trainings with which the variance between seeds can be told."""


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
        _what_next(comparison),
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
        (_words_experiment(comparison), "best experiment on words alone"),
        (WORDS_ALONE, "words alone, no neural network"),
        (CHANCE[0], "chance: the most frequent emotion"),
    ):
        if name in comparison.systems:
            parts.setdefault(name, part)
    scores = {name: comparison.systems[name].macro_f1 for name in parts}
    return [Bar(name, part, scores[name].value, scores[name].low, scores[name].high) for name, part in parts.items()]


def _which_is_best(comparison: Comparison, best: System) -> Answer:
    verdict = comparison.verdict
    experiments = sum(of.training is not None for of in comparison.systems.values())
    how = (
        f"It has the highest validation macro F1 of {experiments} experiments, {best.validation_macro_f1:.3f}; test "
        "scores take no part in the choice."
        if experiments > 1
        else "It is the only experiment."
    )
    score = (
        f"Its test macro F1 is {best.macro_f1.value:.3f}, {percent(comparison.settings.confidence)} interval "
        f"{interval(best.macro_f1)}."
    )
    sentences = [how, score]
    if verdict.runner_up:
        sentences.append(f"The runner-up is {_against(verdict.runner_up, comparison)}.")
    return Answer("Which is best?", verdict.best, tuple(sentences))


def _better_than_words(comparison: Comparison, best: System) -> Answer:
    found = comparison.verdict.differences
    words = found[WORDS_ALONE]
    short = {
        "better": f"Yes, by {words.estimate.value:.3f} over {WORDS_ALONE}",
        "worse": f"No, {-words.estimate.value:.3f} below {WORDS_ALONE}",
        "not_significant": f"Not shown: {words.estimate.value:+.3f} to {WORDS_ALONE} may be chance",
    }[words.outcome]
    sentences = [
        f"The {percent(comparison.settings.confidence)} interval of this difference is "
        f"{interval(words.estimate, '+.3f')}."
    ]
    on_words = _words_experiment(comparison)
    if on_words == comparison.verdict.best:
        sentences.append("The best experiment reads nothing but words.")
    elif on_words:
        sentences.append(f"The best experiment that reads words alone is {_against(on_words, comparison)}.")
    baseline = comparison.settings.baseline
    if baseline not in (comparison.verdict.best, on_words, WORDS_ALONE, *CHANCE):
        sentences.append(f"The baseline is {_against(baseline, comparison)}.")
    by_chance = " and ".join(_against(name, comparison) for name in CHANCE)
    sentences.append(f"Chance is {by_chance}.")
    return Answer("Is it better than words alone?", short, tuple(sentences))


def _where_it_fails(best: System) -> Answer:
    worst = sorted(best.f1_of_classes, key=lambda emotion: best.f1_of_classes[emotion])[:WORST]
    short = " and ".join(f"{emotion} (F1 {best.f1_of_classes[emotion]:.2f})" for emotion in worst)
    sentences = []
    if best.never_predicted:
        never = [f"{emotion} ({count} of {len(best.seeds)} seeds)" for emotion, count in best.never_predicted.items()]
        sentences.append(f"Never predicted: {', '.join(never)}.")
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
    """What would tell the best experiment and the runner-up apart."""
    verdict = comparison.verdict
    pair = [comparison.systems[name] for name in (verdict.best, verdict.runner_up) if name]
    seeds = max(len(of.seeds) for of in pair)
    words = f"Not known: whether {verdict.best} is better than {verdict.runner_up}."
    ways = []
    if settled.seeds:
        ways.append(f"with about {settled.seeds} seeds of each (now {seeds})")
    if settled.conversations:
        ways.append(f"with about {settled.conversations:,} test conversations (now {comparison.test_conversations})")
    if ways:
        words += f" If the difference is as measured, its interval would exclude 0 {', or '.join(ways)}."
    else:
        words += (
            f" Neither {MOST_SEEDS} seeds nor {MOST_CONVERSATIONS:,} test conversations alone would show a difference "
            "as small as the measured one."
        )
    if min(len(of.seeds) for of in pair) == 1:
        words += " From one seed, the variance between seeds is not known."
    return words


def _what_next(comparison: Comparison) -> Answer:
    """More seeds where they settle something, else a search for something better, else the use of the best model."""
    verdict, systems = comparison.verdict, comparison.systems
    question = "What do I run next?"
    experiments = [name for name, of in systems.items() if of.training]
    pair = [name for name in (verdict.best, verdict.runner_up) if name]
    settled = verdict.settled_by
    if min(len(systems[name].seeds) for name in pair) < SEEDS and _are_pipelines(experiments):
        why = f"More seeds: with fewer than {SEEDS}, it is not known how much a score depends on the seed"
        return Answer(question, why, (), (_train(experiments, comparison, SEEDS), _compare_again(comparison)))
    if settled and settled.seeds and _are_pipelines(pair):
        train, why = _train(pair, comparison, settled.seeds), f"More seeds, to tell {' and '.join(pair)} apart"
        if pair == experiments:
            return Answer(question, why, (), (train, _compare_again(comparison)))
        how = (
            "Only seeds that all experiments have are compared, so name the runs of these two afterwards; MLflow shows "
            "their ids."
        )
        compare = f'kedro run --pipelines=compare --params "compare.baseline={pair[1]},compare.runs=[…]"'
        return Answer(question, why, (how,), (train, compare))
    if verdict.differences[WORDS_ALONE].outcome != "better":
        why = f"A search: {verdict.best} is not shown to be better than {WORDS_ALONE}"
        experiment = verdict.best.partition(" ")[0]
        return Answer(question, why, (), (f"kedro run --pipelines=tune --params experiment={experiment}",))
    if not settled:
        why = f"Nothing to settle: use {verdict.best}"
    elif settled.conversations:
        why = f"Use {verdict.best}; only more test conversations would show whether {verdict.runner_up} is as good"
    else:
        why = f"Nothing would tell {' and '.join(pair)} apart: use either"
    training = systems[verdict.best].training
    model = training.run_ids[0] if training and not _are_pipelines([verdict.best]) else verdict.best
    return Answer(question, why, (), (f"kedro run --pipelines=register --params model={model}", "kedro app"))


def _are_pipelines(names: Sequence[str]) -> bool:
    """Whether all are names of experiments: imported weights and named runs have settings in brackets."""
    return not any("(" in name for name in names)


def _train(names: Sequence[str], comparison: Comparison, count: int) -> str:
    """The command that trains these experiments with new seeds until they have `count`, at least one."""
    known = {seed for name in names for seed in comparison.systems[name].seeds}
    first = max(known) + 1
    seeds = ",".join(map(str, range(first, first + max(1, count - len(known)))))
    return f'kedro run --pipelines={",".join(names)} --params "seeds=[{seeds}]"'


def _compare_again(comparison: Comparison) -> str:
    return f'kedro run --pipelines=compare --params "compare.baseline={comparison.settings.baseline}"'


def _words_experiment(comparison: Comparison) -> str | None:
    """The experiment with the highest validation macro F1 of those that read words alone."""
    on_words = {
        name: of.validation_macro_f1
        for name, of in comparison.systems.items()
        if of.training and of.training.modalities == "text"
    }
    return max(on_words, key=lambda name: on_words[name]) if on_words else None


def _against(other: str, comparison: Comparison) -> str:
    """How the best experiment compares: "exp2 (difference +0.120 [+0.050 to +0.190], better)"."""
    found = comparison.verdict.differences[other]
    return f"{other} (difference {with_interval(found.estimate, '+.3f')}, {OUTCOMES[found.outcome]})"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def as_markdown(given: Sequence[Answer]) -> str:
    """The answers as a list in Markdown, for the description of the run in MLflow."""
    lines = []
    for answer in given:
        words = " ".join(in_markdown(words) for words in (f"{answer.short}.", *answer.sentences))
        lines.append(f"- **{answer.question}** {words}")
        lines += [f"  `{command}`" for command in answer.commands]
    return "\n".join(lines)

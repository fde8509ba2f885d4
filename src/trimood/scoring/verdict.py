"""Which system is best, what would settle it, and what a reader should know before believing it."""

from collections.abc import Mapping, Sequence

from trimood.scoring.calibration import made_worse
from trimood.scoring.intervals import Difference, Needed, Sampled, corrected_confidence, differences_from, needed
from trimood.scoring.systems import Stored, System

WORDS = ("TF-IDF", "TF-IDF sqrt")
"""The references that read words and have no neural network."""

NOTHING = 0.005
"""A modality whose loss costs less macro F1 than this is said to bring nothing: it does not show in two decimals."""


class Verdict(Stored):
    """The best experiment by validation macro F1, and its paired differences on the test split.

    `differences`: the best system minus each other one, with Holm's correction. `runner_up`: the second by validation;
    None if there is one experiment. `settled_by`: what would tell the two apart; None if they are
    significantly different.
    """

    best: str
    runner_up: str | None
    differences: dict[str, Difference]
    settled_by: Needed | None


def candidates(systems: Mapping[str, System]) -> list[str]:
    """The systems of which one is the best: experiments that were trained here, or imported weights if there are none.

    The validation scores of imported weights may be of utterances that they were trained on.
    """
    trainings = {name: of.training for name, of in systems.items() if of.training}
    return [name for name, of in trainings.items() if not of.imported] or list(trainings)


def words_alone(systems: Mapping[str, System], best: str) -> list[str]:
    """All systems but the best that read nothing but words: experiments that were trained here, and WORDS."""
    trainings = {name: systems[name].training for name in candidates(systems)}
    experiments = [name for name, of in trainings.items() if of and of.modalities == "text"]
    return [name for name in (*experiments, *WORDS) if name != best]


def not_beaten(differences: Mapping[str, Difference], others: Sequence[str]) -> str | None:
    """The one of `others` to which the difference is the lowest, of those that are better or may be; None without one.

    One that is better comes before those that may be.
    """
    named = [name for name in others if differences[name].outcome != "better"]
    by = {name: (differences[name].outcome != "worse", differences[name].estimate.value) for name in named}
    return min(named, key=lambda name: by[name], default=None)


def judge(samples: Mapping[str, Sampled], validation: Mapping[str, float], confidence: float) -> Verdict:
    """Chooses among the experiments in `validation` by these scores, never by `samples`, their test scores.

    Of equal scores the first is chosen. Choosing by test scores would be optimistic: the best of many is partly lucky.
    """
    best, *others = sorted(validation, key=lambda name: -validation[name])
    runner_up = others[0] if others else None
    found = differences_from(samples, best, confidence)
    settled_by = None
    if runner_up and found[runner_up].outcome == "not_significant":
        beside = [of.estimate for name, of in found.items() if name != runner_up]
        settled_by = needed(samples[best], samples[runner_up], corrected_confidence(beside, confidence))
    return Verdict(best=best, runner_up=runner_up, differences=found, settled_by=settled_by)


def shortcomings(systems: Mapping[str, System]) -> list[str]:
    """Sentences about emotions that experiments never predict, and modalities that bring them nothing.

    A modality brings nothing if test macro F1 drops less than NOTHING without it, whether blanked or shuffled.
    """
    trained = {name: of for name, of in systems.items() if of.training}
    never = {
        name: ", ".join(
            f"{emotion} ({count} of {len(of.seeds)} seeds)" for emotion, count in _missed_emotions(of).items()
        )
        for name, of in trained.items()
        if _missed_emotions(of)
    }
    idle = {name: ", ".join(modalities) for name, of in trained.items() if (modalities := _idle_modalities(of))}
    found = (
        ("never predict an emotion", never),
        (f"have a modality that brings less than {NOTHING} macro F1 on this test split", idle),
    )
    return [
        f"{len(of_systems)} of {len(trained)} experiments {words}: {_listed(of_systems)}"
        for words, of_systems in found
        if of_systems
    ]


def _missed_emotions(system: System) -> dict[str, int]:
    """The emotions of test utterances that are never predicted, with the number of seeds."""
    return {emotion: count for emotion, count in system.never_predicted.items() if emotion in system.tested_emotions}


def _idle_modalities(system: System) -> list[str]:
    drops: dict[str, list[float]] = {}
    for row in system.modality_ablation:
        drops.setdefault(row.modality, []).append(row.macro_f1_drop)
    return [modality for modality, of_modality in drops.items() if max(of_modality) < NOTHING]


def unhelpful_temperatures(systems: Mapping[str, System]) -> list[str]:
    """Sentences about experiments' temperatures that cannot be fitted, and those that make the test split worse."""
    calibrated = {name: of.calibration for name, of in systems.items() if of.training and of.calibration}
    seeds: dict[str, dict[str, list[str]]] = {}  # by reason and system
    for name, of in calibrated.items():
        for seed, reason in of.not_fitted.items():
            seeds.setdefault(reason, {}).setdefault(name, []).append(str(seed))
    sentences = [
        f"the temperature is 1, which changes nothing, because {reason}: "
        + _listed({name: f"seed{'s' if len(of_name) > 1 else ''} {', '.join(of_name)}" for name, of_name in of.items()})
        for reason, of in seeds.items()
    ]
    worse = {name: words for name, of in calibrated.items() if (words := made_worse(of.before, of.after))}
    return [*sentences, *([f"temperatures make the test split worse: {_listed(worse)}"] if worse else [])]


def _listed(of_systems: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {words}" for name, words in of_systems.items())

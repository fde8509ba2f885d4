"""What to run after a comparison: why, and the commands."""

from collections.abc import Sequence
from typing import NamedTuple

from trimood.scoring.baselines import REFERENCES
from trimood.scoring.comparison import Comparison
from trimood.scoring.systems import Training
from trimood.scoring.verdict import candidates, not_beaten, words_alone

SEEDS = 3
"""Trainings with which the variance between seeds can be told."""

AS_BEFORE = "Add the --env and the other --params of the compared experiments."
"""The commands do not know with which of them the experiments were run."""


class NextStep(NamedTuple):
    """A reason in a few words, sentences about the commands, and the commands."""

    why: str
    sentences: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def what_next(comparison: Comparison) -> NextStep:
    """More seeds where they settle something, else a search for something better, else the use of the best model."""
    verdict, systems = comparison.verdict, comparison.systems
    best, runner_up, settled = verdict.best, verdict.runner_up, verdict.settled_by
    experiments = candidates(systems)
    pair = [name for name in (best, runner_up) if name]
    if (training := systems[best].training) and training.imported:
        why = "Train an experiment: weights that were trained elsewhere may know the validation utterances"
        return NextStep(why, (AS_BEFORE,), (f"kedro run --pipelines={_experiment(best)}",))
    if min(len(systems[name].seeds) for name in pair) < SEEDS and _are_pipelines(experiments):
        why = f"More seeds: with fewer than {SEEDS}, it is not known how much a score depends on the seed"
        return NextStep(why, (AS_BEFORE,), _train_and_compare(experiments, comparison, SEEDS))
    if runner_up and verdict.differences[runner_up].outcome == "worse":
        why = f"More seeds: validation chooses {best}, but {runner_up} is significantly better on test"
        how = "Then choose by validation again: a choice by test scores would make them optimistic."
        more = 2 * max(len(systems[name].seeds) for name in pair)
        return NextStep(
            why, (how, AS_BEFORE), _train_and_compare(pair, comparison, more) if _are_pipelines(pair) else ()
        )
    if settled and settled.seeds and _are_pipelines(pair):
        why = f"More seeds, to tell {' and '.join(pair)} apart"
        return NextStep(why, (AS_BEFORE,), _train_and_compare(pair, comparison, settled.seeds))
    if other := not_beaten(verdict.differences, words_alone(systems, best)):
        why = f"A search: {best} is not shown to be better than {other}, which reads words alone"
        command = f"kedro run --pipelines=tune --params experiment={_experiment(best)}"
        return NextStep(why, (AS_BEFORE,), (command,))
    if not settled:
        why = f"Nothing to settle: use {best}"
    elif settled.conversations:
        why = f"Use {best}; only more test conversations would show whether {runner_up} is as good"
    elif comparison.test_conversations == 1 or min(len(systems[name].seeds) for name in pair) == 1:
        why = f"Use {best}; what would show whether {runner_up} is as good is not known"
    else:
        why = f"Nothing would tell {' and '.join(pair)} apart: use either"
    return NextStep(why, (AS_BEFORE,), (_register(best, systems[best].training, comparison), "kedro app"))


def _experiment(system: str) -> str:
    """The pipeline of a system, whose settings may be in brackets after it."""
    return system.partition(" ")[0]


def _are_pipelines(names: Sequence[str]) -> bool:
    """Whether all are names of experiments: runs that `compare.runs` names may have settings in brackets."""
    return all(name == _experiment(name) for name in names)


def _train_and_compare(names: Sequence[str], comparison: Comparison, count: int) -> tuple[str, str]:
    """The commands that train these experiments until all have the same `count` seeds, and that compare them.

    A training that has finished is not repeated, so a seed that only some have is given for all.
    """
    of_systems = [set(comparison.systems[name].seeds) for name in names]
    known = set.union(*of_systems)
    frequent_first = sorted(known, key=lambda seed: (-sum(seed in of for of in of_systems), seed))
    new = range(max(known) + 1, max(known) + 1 + count)
    wanted = sorted([*frequent_first, *new][:count])
    lacking = [seed for seed in wanted if not all(seed in of for of in of_systems)]
    train = f'kedro run --pipelines={",".join(names)} --params "seeds=[{",".join(map(str, lacking))}]"'
    return train, f'kedro run --pipelines=compare --params "{_compared_like(comparison, names)}"'


def _compared_like(comparison: Comparison, names: Sequence[str]) -> str:
    """The parameters of a comparison that has all seeds of these experiments.

    Only seeds that all experiments have are compared, so `compare.runs` leaves the other experiments out.
    """
    baseline, chosen = comparison.settings.baseline, comparison.settings.runs
    if set(names) == set(candidates(comparison.systems)) and not chosen:
        return f"compare.baseline={baseline}"
    if baseline not in (*names, *REFERENCES):
        baseline = names[-1]
    return f"compare.baseline={baseline},compare.runs=[{','.join(names)}]"


def _register(best: str, training: Training | None, comparison: Comparison) -> str:
    """The command that registers the best model; by its run if a name would find another one."""
    by_run = training and (comparison.settings.runs or not _are_pipelines([best]))
    return f"kedro run --pipelines=register --params model={training.run_ids[0] if training and by_run else best}"

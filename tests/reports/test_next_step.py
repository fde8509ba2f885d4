"""What to run after a comparison: commands that settle what is open, and that do what they say."""

import re
from typing import Any

import pandas as pd
import pytest

from support.made_systems import HEAD, made_comparison, made_run, made_system
from trimood.config.parameters import CompareParams
from trimood.reports.next_step import AS_BEFORE, what_next
from trimood.scoring.agreement import unequal_seeds
from trimood.scoring.intervals import Needed
from trimood.scoring.systems import System
from trimood.tracking.runs import choose_runs


def experiment(score: float, seeds: tuple[int, ...] = (1, 2, 3), modalities: str = "text, video") -> System:
    return made_system(score, seeds, modalities=modalities, **HEAD)


BEST = experiment(0.42)
OTHER = {"exp3": experiment(0.4)}
OPEN = Needed(seeds=8, conversations=150)
SETTINGS = CompareParams(baseline="exp4", resamples=100, confidence=0.95, seed=0, runs=())


@pytest.mark.parametrize(
    ("best", "settled_by", "outcome", "commands"),
    [
        (
            BEST,
            OPEN,
            "better",
            [
                'kedro run --pipelines=exp4,exp3 --params "seeds=[4,5,6,7,8]"',
                'kedro run --pipelines=compare --params "compare.baseline=exp4"',
            ],
        ),
        (BEST, Needed(None, 150), "better", ["--pipelines=register --params model=exp4", "kedro app"]),
        (BEST, None, "better", ["--pipelines=register --params model=exp4", "kedro app"]),
        (BEST, None, "not_significant", ["--pipelines=tune --params experiment=exp4"]),
        (experiment(0.42, (42,)), None, "better", ['"seeds=[43,44]"', "--pipelines=compare"]),
    ],
)
def test_the_next_command_settles_what_is_open_first(
    best: System, settled_by: Needed | None, outcome: str, commands: list[str]
) -> None:
    others = {"exp3": experiment(0.4, best.seeds)}
    last = what_next(made_comparison(best, others, {"TF-IDF": outcome}, settled_by))  # type: ignore[dict-item]
    assert len(last.commands) == len(commands)
    for command, words in zip(last.commands, commands, strict=True):
        assert words in command
    assert last.sentences == (AS_BEFORE,)


CORPUS = {"train": {"sha256": "0a1b2c3d4e5f"}, "official_test": {"sha256": None}}


def listed(name: str, command: str) -> tuple[str, ...]:
    found = re.search(rf"{name}=\[(.*?)\]", command)
    return tuple(found[1].split(",")) if found else ()


def followed(tracked: dict[str, tuple[int, ...]], commands: tuple[str, ...]) -> tuple[str, dict[str, set[int]]]:
    """The baseline, and the seeds of each system that is compared after training and comparing as the commands say."""
    train, compare = commands
    names = re.search(r"--pipelines=(\S+)", train)
    baseline = re.search(r"compare\.baseline=(\w+)", compare)
    assert names
    assert baseline
    seeds = {name: set(of) for name, of in tracked.items()}
    for name in names[1].split(","):
        seeds[name].update(map(int, listed("seeds", train)))
    table = pd.DataFrame([made_run(name, seed) for name, of in seeds.items() for seed in sorted(of)])
    how = SETTINGS.model_copy(update={"baseline": baseline[1], "runs": listed("compare.runs", compare)})
    runs = choose_runs(table, CORPUS, how)
    left_out, _ = unequal_seeds(runs, chosen=bool(how.runs))
    compared: dict[str, set[int]] = {}
    for system, seed in runs[["system", "seed"]].itertuples(index=False, name=None):
        if (system, seed) not in left_out:
            compared.setdefault(system, set()).add(seed)
    return baseline[1], compared


@pytest.mark.parametrize(
    ("tracked", "count", "chosen", "baseline", "compared"),
    [
        ({"exp4": (1, 2, 3), "exp3": (1, 2, 3)}, 8, (), "exp4", {"exp4": 8, "exp3": 8}),
        ({"exp4": (1, 2, 3), "exp3": (1, 2, 3), "exp1": (1, 2, 3)}, 8, (), "exp4", {"exp4": 8, "exp3": 8}),
        ({"exp4": (1, 2, 3), "exp3": (1, 2, 3), "exp1": (1, 2, 3)}, 8, (), "exp1", {"exp4": 8, "exp3": 8}),
        ({"exp4": (1, 2, 3), "exp3": (1, 2, 3), "exp1": (1, 2, 3)}, 8, (), "majority", {"exp4": 8, "exp3": 8}),
        ({"exp4": (1, 2, 3), "exp3": (4, 5, 6)}, 8, (), "exp4", {"exp4": 8, "exp3": 8}),
        ({"exp4": (1, 2, 3), "exp3": (3, 4, 5)}, 8, ("exp4-1",), "exp4", {"exp4": 8, "exp3": 8}),
        ({"exp4": (42,), "exp3": (42,), "exp1": (42,)}, 8, (), "exp4", {"exp4": 3, "exp3": 3, "exp1": 3}),
        ({"exp4": (1, 2, 3), "exp3": (42,), "exp1": (42,)}, 8, (), "exp4", {"exp4": 3, "exp3": 3, "exp1": 3}),
    ],
)
def test_who_follows_the_advice_compares_as_many_seeds_of_each_as_it_says(
    tracked: dict[str, tuple[int, ...]], count: int, chosen: tuple[str, ...], baseline: str, compared: dict[str, int]
) -> None:
    best, *others = (experiment(0.42 - number / 100, seeds) for number, seeds in enumerate(tracked.values()))
    settings = SETTINGS.model_copy(update={"baseline": baseline, "runs": chosen})
    settled_by = Needed(count, None)
    of_others = dict(zip(list(tracked)[1:], others, strict=True))
    last = what_next(made_comparison(best, of_others, settled_by=settled_by, settings=settings))
    to, found = followed(tracked, last.commands)
    assert {name: len(seeds) for name, seeds in found.items() if name in compared} == compared
    assert len({frozenset(seeds) for seeds in found.values()}) == 1
    assert to == (baseline if baseline in (*compared, "majority") else "exp3")


def test_seeds_that_all_have_are_not_trained_again_and_new_ones_are_few() -> None:
    last = what_next(made_comparison(BEST, {"exp3": experiment(0.4, (1, 2, 42))}, settled_by=Needed(4, None)))
    assert listed("seeds", last.commands[0]) == ("3", "42")
    assert last.commands[1] == 'kedro run --pipelines=compare --params "compare.baseline=exp4"'
    many = {**OTHER, "exp1": experiment(0.2)}
    last = what_next(made_comparison(BEST, many, settled_by=OPEN))
    assert last.commands == (
        'kedro run --pipelines=exp4,exp3 --params "seeds=[4,5,6,7,8]"',
        'kedro run --pipelines=compare --params "compare.baseline=exp4,compare.runs=[exp4,exp3]"',
    )


def named(comparison: Any, best: str) -> Any:
    """The comparison with another name for its best system."""
    systems = {best if name == "exp4" else name: of for name, of in comparison.systems.items()}
    verdict = comparison.verdict.model_copy(update={"best": best})
    settings = comparison.settings.model_copy(update={"baseline": best})
    return comparison.model_copy(update={"systems": systems, "verdict": verdict, "settings": settings})


def test_what_no_pipeline_is_named_after_is_not_trained_again_but_used_by_its_run() -> None:
    compared = named(made_comparison(BEST, OTHER, settled_by=OPEN), "exp4 (lora.r=8)")
    commands = what_next(compared).commands
    assert commands == ("kedro run --pipelines=register --params model=run-1", "kedro app")
    by_runs = SETTINGS.model_copy(update={"runs": ("run-1", "run-2")})
    assert what_next(made_comparison(BEST, OTHER, settings=by_runs)).commands[0].endswith("model=run-1")
    lost = named(made_comparison(BEST, OTHER, {"TF-IDF": "worse"}), "exp4 (lora.r=8)")
    assert what_next(lost).commands == ("kedro run --pipelines=tune --params experiment=exp4",)


def test_weights_that_were_trained_elsewhere_are_neither_searched_nor_registered() -> None:
    imported = made_system(0.9, (42,), modalities="text, video", imported=True, **HEAD)
    last = what_next(named(made_comparison(imported), "exp4 (imported 01)"))
    assert last.commands == ("kedro run --pipelines=exp4",)
    beside = what_next(made_comparison(BEST, {**OTHER, "exp1 (imported 01)": imported}, settled_by=OPEN))
    assert beside.commands[0] == 'kedro run --pipelines=exp4,exp3 --params "seeds=[4,5,6,7,8]"'

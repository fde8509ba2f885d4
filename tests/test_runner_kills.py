"""Killed commands: the same command ends with the same bits, in one MLflow run, and trains nothing that is finished."""

import re
import sqlite3

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from support.small_world import SmallWorld, calm_world, small_raw_data, small_world

__all__ = ["calm_world", "small_raw_data", "small_world"]

pytestmark = [pytest.mark.slow, pytest.mark.faults]

KILLS = 10


def runs_of(world: SmallWorld) -> list[tuple[str, str]]:
    """Experiment and status of every MLflow run, the oldest first."""
    with sqlite3.connect(world.project.path / "mlflow.db") as store:
        found = store.execute("select name, status from runs order by start_time").fetchall()
    return [(name.partition(" · seed ")[0], status) for name, status in found]


def results_of(world: SmallWorld, experiment: str) -> dict[str, torch.Tensor | pd.DataFrame | str]:
    """Weights, predictions and scores, to the bit."""
    models, outputs = world.data / "06_models" / experiment, world.data / "07_model_output" / experiment
    weights = {
        f"{epoch} {name}": tensor
        for epoch in ("best", "last")
        for name, tensor in load_file(models / f"{epoch}.safetensors").items()
    }
    predictions = pd.read_parquet(outputs / "predictions.parquet")
    scores = (world.data / "08_reporting" / experiment / "scores.json").read_text()
    return {**weights, "predictions": predictions, "scores": scores}


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other[name]), name
        elif isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, other[name], check_exact=True)
        else:
            assert value == other[name], name


def newest_epoch(world: SmallWorld) -> int:
    """Optimiser steps of the newest whole epoch of an unfinished training."""
    found = (world.data / "06_models" / "training_checkpoints").glob("*/checkpoint-*")
    return max((int(path.name.split("-")[1]) for path in found), default=0)


def test_a_command_that_is_killed_ten_times_ends_as_one_that_was_not(
    small_world: SmallWorld, calm_world: SmallWorld
) -> None:
    lines, wanted = calm_world.run("exp3").count("\n"), results_of(calm_world, "exp3")
    steps = 6  # of an epoch: 21 utterances in batches of four

    draws, killed = np.random.default_rng(), 0
    for _ in range(KILLS):
        before = newest_epoch(small_world)
        command = small_world.start("exp3")
        # At a random line of what it says, so in every phase, however fast the machine is.
        killed += command.wait_for_lines(int(draws.integers(1, lines)))
        command.kill()
        went_on = re.search(r"(?:continues|had finished) after epoch (\d+) of 4", command.said)
        if "training on" in command.said and before and "epoch 1 of" in command.said:
            assert went_on
            assert int(went_on[1]) * steps == before  # at most the epoch that was not whole is done again
    assert killed > KILLS / 2
    last = small_world.run("exp3")
    assert "Traceback" not in last
    assert_same(results_of(small_world, "exp3"), wanted)
    assert runs_of(small_world) == [("exp3", "FINISHED")]
    assert not list((small_world.data / "06_models" / "training_checkpoints").iterdir())
    assert "exp3 is finished" in small_world.run("exp3")
    assert runs_of(small_world) == [("exp3", "FINISHED")]


def test_of_three_experiments_killed_in_the_third_only_that_is_trained_again(small_world: SmallWorld) -> None:
    names = "exp1,exp3,exp4"
    command = small_world.start(names)
    assert command.wait_for("epoch 2 of 4", count=3)
    command.kill()
    assert [status for _, status in runs_of(small_world)] == ["FINISHED", "FINISHED", "RUNNING"]
    said = small_world.run(names)
    assert "exp1 is finished" in said
    assert "exp3 is finished" in said
    assert said.count("training on cpu") == 1
    assert runs_of(small_world) == [(name, "FINISHED") for name in ("exp1", "exp3", "exp4")]
    models = small_world.data / "06_models"
    assert all((models / name / "best.safetensors").is_file() for name in ("exp1", "exp3", "exp4"))


def test_a_kill_after_the_training_costs_no_epoch(small_world: SmallWorld) -> None:
    command = small_world.start("exp3")
    assert command.wait_for("Running node: score")
    command.kill()
    said = small_world.run("exp3")
    assert "had finished after epoch 4 of 4: no epoch is trained again" in said
    assert runs_of(small_world) == [("exp3", "FINISHED")]


def test_rerun_trains_again_in_a_run_of_its_own_with_the_same_bits(small_world: SmallWorld) -> None:
    small_world.run("exp3")
    first = results_of(small_world, "exp3")
    said = small_world.run("exp3", "rerun=true")
    assert "epoch 1 of 4" in said
    assert "continues after" not in said
    assert_same(results_of(small_world, "exp3"), first)
    assert runs_of(small_world) == [("exp3", "FINISHED")] * 2

"""Real commands in one checkout: they work side by side, or the later one says at once who is at work."""

import sqlite3
import time

import pytest

from support.small_world import SmallWorld, small_raw_data, small_world

__all__ = ["small_raw_data", "small_world"]

pytestmark = [pytest.mark.slow, pytest.mark.faults]


def statuses(world: SmallWorld) -> dict[str, str]:
    with sqlite3.connect(world.project.path / "mlflow.db") as store:
        found = store.execute("select name, status from runs").fetchall()
    return {name.partition(" · seed ")[0]: status for name, status in found}


def test_while_an_experiment_is_trained(small_world: SmallWorld) -> None:
    """One long training, and all that others may and may not do meanwhile."""
    training = small_world.start("exp3", epochs=400)
    assert training.wait_for("epoch 1 of 400")

    second = small_world.run("exp3", epochs=400)
    assert f"Error: exp3: {small_world.data / '06_models' / 'exp3'}: in use by `kedro run --pipelines=exp3" in second
    assert f"(process {training.pid} on " in second
    assert "--params seeds=[1,2]" in second
    assert "data_root=FOLDER" in second
    assert "Running node" not in second  # nothing was prepared
    assert "Traceback" not in second

    seed = small_world.run("exp3,exp4", "training.seed=7", epochs=400)
    assert "in use by" in seed
    assert "Running node" not in seed

    split = small_world.run("preprocessing", "data.split.seed=9")
    assert "exp3 is trained on this table by `kedro run" in split
    assert "Traceback" not in split

    # The same data and another experiment, or another place: side by side.
    assert "\nMLflow: make ui, then" in small_world.run("exp4")
    elsewhere = small_world.project.path / "elsewhere"
    assert "\nMLflow: make ui, then" in small_world.run("exp3", f"data_root={elsewhere},data.split.seed=9")
    assert training.is_running()

    begun = time.monotonic()
    training.kill()
    said = small_world.run("exp3")  # fewer epochs: another training, which nobody refuses
    assert "epoch 4 of 4" in said
    assert time.monotonic() - begun < 120
    assert statuses(small_world)["exp4"] == "FINISHED"


def test_two_first_commands_prepare_the_data_once(small_world: SmallWorld) -> None:
    first, second = small_world.start("exp3"), small_world.start("exp4")
    said = [first.wait(), second.wait()]
    assert all("\nMLflow: make ui, then" in words for words in said), said
    assert sum("1 clips in" in words for words in said) == 1
    assert statuses(small_world) == {"exp3": "FINISHED", "exp4": "FINISHED"}

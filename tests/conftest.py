"""What holds for all tests."""

import gc
import os
import signal
from collections.abc import Iterator

import pytest
import torch

from support.demo_project import PROJECT, demo_project, finished_demo, own_demo_project
from support.small_disk import small_disk
from support.tracked_project import empty_store, project
from trimood.config import experiments
from trimood.config.experiments import read_experiments

__all__ = [
    "demo_project",
    "empty_store",
    "finished_demo",
    "own_demo_project",
    "project",
    "small_disk",
]  # fixtures for all tests

# Small projects that the tests write ask nobody whether Kedro may report their use.
os.environ["DO_NOT_TRACK"] = "1"

# The models here are so small that a second thread costs more than it brings.
torch.set_num_threads(1)

read_experiments(str(PROJECT / "conf"), ("base", "demo"))

gc.disable()  # until all tests are collected: looking at the modules that they import takes seconds


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _libraries_outlive_the_tests() -> None:
    """The garbage collector skips what is imported by now: each training collects, 0.7 s for a million such objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the tests run under nohup or in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _the_experiments_of_this_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that runs commands on another configuration leaves no other test its experiments."""
    monkeypatch.setattr(experiments, "_read", experiments._read)


@pytest.fixture(autouse=True)
def _the_store_of_no_other_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow writes the store that was selected last into the environment, where a test takes it for the user's."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

"""What holds for all tests."""

import gc
import os

import pytest
import torch

from support.demo_project import demo_project, own_demo_project
from support.small_disk import small_disk
from support.tracked_project import empty_store, project

__all__ = ["demo_project", "empty_store", "own_demo_project", "project", "small_disk"]  # fixtures for all tests

# Small projects that the tests write ask nobody whether Kedro may report their use.
os.environ["DO_NOT_TRACK"] = "1"

# The models here are so small that a second thread costs more than it brings.
torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _libraries_outlive_the_tests() -> None:
    """The garbage collector skips what is imported by now: each training collects, 0.7 s for a million such objects."""
    gc.collect()
    gc.freeze()

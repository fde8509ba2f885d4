"""Trainings of the tiny model that tests of the trainer compare."""

from pathlib import Path

import torch

from support.learning_examples import TRAINING, example_table, tiny_model
from trimood.learning.trainer import Fitted, fit
from trimood.scoring.metrics import summary_scores


def run(
    sources, prepared_clips, folder: Path, report=lambda numbers, step: None, arguments=TRAINING, **kwargs
) -> tuple:
    augmentation = kwargs.pop("augmentation", None)
    prepared = tiny_model(sources, **kwargs)
    examples = prepared.examples(example_table(28), prepared_clips, augmentation)
    validation = prepared.examples(example_table(14), prepared_clips)
    return prepared, validation, fit(prepared.model, examples, validation, arguments, folder, summary_scores, report)


class Stopped(Exception):
    """Stands for a crash."""


def assert_same(one: Fitted, other: Fitted) -> None:
    assert [{**row, "seconds": 0} for row in one.history] == [{**row, "seconds": 0} for row in other.history]
    assert set(one.best) == set(other.best)
    assert all(torch.equal(one.best[name], other.best[name]) for name in one.best)
    assert all(torch.equal(one.last[name], other.last[name]) for name in one.last)

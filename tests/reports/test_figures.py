from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from trimood.emotions import EMOTIONS
from trimood.reports.figures import confusion_figure, learning_curves_figure, modality_ablation_figure
from trimood.scoring.ablation import ablate_modalities
from trimood.scoring.metrics import classification_report

HISTORY = [
    {"epoch": 1.0, "train/macro_f1": 0.1, "train/loss": 1.9, "validation/macro_f1": 0.12, "validation/loss": 1.8},
    {"epoch": 2.0, "train/macro_f1": 0.3, "train/loss": 1.5, "validation/macro_f1": 0.25, "validation/loss": 1.6},
    {"epoch": 3.0, "train/macro_f1": 0.6, "train/loss": 0.9, "validation/macro_f1": 0.22, "validation/loss": 1.5},
]


@pytest.fixture
def scores() -> dict[str, dict[str, Any]]:
    """Validation: 9 of 10 surprises found, one taken for fear; test: each emotion found once."""
    return {
        "validation": classification_report([0] * 10, [0] * 9 + [1]),
        "test": classification_report(range(7), range(7)),
    }


def cells(ax: Axes) -> np.ndarray:
    """The numbers written into a matrix, [true, predicted]."""
    found = np.full((7, 7), -1)
    for text in ax.texts:
        column, row = text.get_position()
        found[int(row), int(column)] = int(text.get_text())
    return found


def test_each_split_has_its_matrix_under_one_title(scores: dict[str, Any]) -> None:
    figure = confusion_figure(scores, "text + video, head only")
    assert figure.get_suptitle() == "text + video, head only"
    validation, test, colours = figure.axes
    assert validation.get_title().startswith(f"validation: macro F1 {scores['validation']['macro_f1']:.3f}, 10 utter")
    assert test.get_title() == "test: macro F1 1.000, 7 utterances"
    assert colours.get_ylabel() == "share of the true emotion"


def test_the_numbers_are_counts_and_the_colour_is_the_share_of_the_row(scores: dict[str, Any]) -> None:
    validation, test, _ = confusion_figure(scores, "").axes
    assert (cells(validation) == np.array(scores["validation"]["confusion_matrix"])).all()
    assert (cells(test) == np.eye(7)).all()
    share = validation.images[0].get_array()
    assert share is not None
    assert share[0, 0] == pytest.approx(0.9)
    assert share[0, 1] == pytest.approx(0.1)
    assert share[1:].sum() == 0  # rows of classes that do not occur are empty, not divided by zero
    assert validation.images[0].get_clim() == (0, 1)


def test_rows_and_columns_bear_the_emotions_in_class_order(scores: dict[str, Any]) -> None:
    ax = confusion_figure(scores, "").axes[0]
    for axis, word in ((ax.xaxis, "predicted"), (ax.yaxis, "true")):
        assert [label.get_text() for label in axis.get_ticklabels()] == list(EMOTIONS)
        assert axis.get_label_text() == word


def test_a_number_can_be_read_on_its_colour(scores: dict[str, Any]) -> None:
    ax = confusion_figure(scores, "").axes[0]
    colours = {tuple(map(int, reversed(text.get_position()))): sum(to_rgb(text.get_color())) / 3 for text in ax.texts}
    assert colours[0, 0] > 0.9  # light on dark
    assert colours[0, 1] < 0.5  # dark on light


def test_what_was_never_predicted_is_said(scores: dict[str, Any]) -> None:
    validation, test, _ = confusion_figure(scores, "").axes
    assert "never predicted: sadness, neutral, joy, anger, disgust" in validation.get_title()
    assert "never" not in test.get_title()


def test_one_split_alone_can_be_drawn(scores: dict[str, Any]) -> None:
    assert [ax.get_title()[:5] for ax in confusion_figure({"test": scores["test"]}, "").axes] == ["test:", ""]


def test_curves_show_both_splits_per_epoch_and_mark_the_best_one() -> None:
    figure = learning_curves_figure(HISTORY, "text + video")
    assert figure.get_suptitle() == "text + video"
    for ax, measure, name in zip(figure.axes, ("macro_f1", "loss"), ("macro F1", "cross-entropy loss"), strict=True):
        lines = {str(line.get_label()): line for line in ax.lines}
        assert list(lines["training"].get_xdata()) == [1, 2, 3]
        assert list(lines["training"].get_ydata()) == [row[f"train/{measure}"] for row in HISTORY]
        assert list(lines["validation"].get_ydata()) == [row[f"validation/{measure}"] for row in HISTORY]
        assert set(lines["best epoch"].get_xdata()) == {
            2
        }  # by macro F1 in both pictures: the loss is lowest in the third
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", name)
        assert set(ax.get_xticks()) >= {1, 2, 3}
        assert all(tick == int(tick) for tick in ax.get_xticks())
        assert ax.get_legend() is not None


def test_the_first_of_two_equal_epochs_is_the_best_as_it_is_in_training() -> None:
    history = [{**row, "validation/macro_f1": 0.2} for row in HISTORY]
    lines = {str(line.get_label()): line for line in learning_curves_figure(history, "").axes[0].lines}
    assert set(lines["best epoch"].get_xdata()) == {1}


def test_an_epoch_without_training_scores_leaves_a_gap() -> None:
    """A training that was interrupted within an epoch and resumed may lack them."""
    history = [HISTORY[0], {k: v for k, v in HISTORY[1].items() if not k.startswith("train/")}, HISTORY[2]]
    lines = {str(line.get_label()): line for line in learning_curves_figure(history, "").axes[0].lines}
    assert np.isnan(np.asarray(lines["training"].get_ydata(), dtype=float)).tolist() == [False, True, False]


def test_a_single_epoch_can_be_drawn() -> None:
    ax = learning_curves_figure(HISTORY[:1], "").axes[0]
    assert 1 in ax.get_xticks()
    assert ax.get_ylim()[0] == 0


@pytest.mark.slow
def test_losses_are_written_for_each_split_modality_and_emotion_and_the_seed_is_stated() -> None:
    labels = np.arange(7).repeat(3)
    tables = []
    for split, strength in (("validation", 1.0), ("test", 0.1)):
        embeddings = {"video": np.eye(7)[(labels + 1) % 7] / 2, "text": strength * np.eye(7)[labels]}
        table = ablate_modalities(labels, embeddings, lambda changed: sum(changed.values()).argmax(axis=1))
        tables.append(table.assign(split=split))
    ablation = pd.read_csv(StringIO(pd.concat(tables).to_csv(index=False)))  # as the catalog hands it on
    figure = modality_ablation_figure(ablation, "text + video")
    assert figure.get_suptitle() == "text + video\nloss of F1; shuffled: mean of 20 permutations, seed 0"
    validation, test, _ = figure.axes
    assert validation.get_title() == "validation: intact macro F1 1.000"
    assert test.get_title() == "test: intact macro F1 0.000"
    rows = ["video blanked", "video shuffled", "text blanked", "text shuffled"]
    assert [label.get_text() for label in validation.get_yticklabels()] == rows
    assert [label.get_text() for label in validation.get_xticklabels()] == ["macro", *EMOTIONS]
    written = {tuple(map(int, text.get_position())): text.get_text() for text in validation.texts}
    assert len(written) == 4 * 8
    assert (written[0, 0], written[0, 2]) == ("+0.00", "+1.00")
    assert {text.get_position(): text.get_text() for text in test.texts}[0, 0] == "-1.00"
    assert validation.images[0].get_clim() == test.images[0].get_clim() == (-1, 1)

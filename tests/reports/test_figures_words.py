"""Words are drawn as they are in every figure: no formulas, no errors, no warnings."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from safetensors.torch import save_file

from trimood.config.parameters import CompareParams
from trimood.corpus.data_report import AnnotationFile, AnnotationFiles
from trimood.emotions import CALIBRATED, EMOTIONS, PROBABILITIES
from trimood.reports import comparison_figures, data_check_figures
from trimood.reports.clips import contact_sheet, predictions_figure
from trimood.reports.figures import PlainFigure, confusion_figure, learning_curves_figure, modality_ablation_figure
from trimood.scoring.ablation import ablate_modalities
from trimood.scoring.comparison import Comparison
from trimood.scoring.intervals import Difference, Estimate
from trimood.scoring.metrics import classification_report
from trimood.scoring.systems import (
    CurvePoint,
    PooledCalibration,
    ReliabilityBin,
    Score,
    System,
    SystemCalibration,
    Training,
)
from trimood.scoring.verdict import Verdict

WORDS = {
    "two dollars": "Bet $5 or 5% of $10?",
    "a formula and none": r"$\alpha_1$ $\frac{$ a_b^c \ {x} %s \$5",
    "a lone dollar, lines": "It costs $\nor\r\nmore\t",
    "scripts": "مرحبا שלום \U0001f600 \U0001f469\u200d\U0001f469 漢字 \U000e0001 a\x00b\x07\x1b[31m",
    "long": "word " * 100 + "w" * 400,
}


def of_experiment(words: str, folder: Path) -> list[Figure]:
    """The figures of one experiment, whose title are the words."""
    history = [{"epoch": 1.0, "validation/macro_f1": 0.2}]
    labels = np.arange(7)
    ablation = ablate_modalities(labels, {"text": np.eye(7)}, lambda changed: changed["text"].argmax(axis=1))
    return [
        confusion_figure({"test": classification_report(labels, labels)}, words),
        learning_curves_figure(history, words),
        modality_ablation_figure(ablation.assign(split="test"), words),
    ]


def of_comparison(words: str, folder: Path) -> list[Figure]:
    """The figures of a comparison, with the words as names of experiments."""
    score = Score(value=0.5, low=0.4, high=0.6, sd_over_seeds=None, of_seeds=(0.5,))
    bins = (ReliabilityBin(lower=0, upper=1, utterances=3, confidence=0.5, accuracy=0.4),)
    pooled = PooledCalibration(expected_calibration_error=0.1, negative_log_likelihood=1, reliability=bins)
    system = System(
        seeds=(1,),
        validation_macro_f1=0.5,
        macro_f1=score,
        weighted_f1=score,
        difference=Difference(Estimate(0.1, 0.0, 0.2, 0.05), 0.05, "not_significant"),
        f1_of_classes=dict.fromkeys(EMOTIONS, 0.5),
        confusion_matrix=((1,) * 7,) * 7,
        never_predicted={},
        calibration=SystemCalibration(temperature=1, temperature_of_seeds=(1,), before=pooled, after=pooled),
        training=Training(
            run_ids=("run",),
            modalities="text",
            train="head",
            head="trained",
            lora_targets=None,
            trainable_parameters=1,
            seconds=None,
            peak_memory_gib=None,
        ),
        curves=(CurvePoint(epoch=1, train=0.5, validation=0.4, gap=0.1),),
        modality_ablation=(),
    )
    settings = CompareParams(baseline=words, resamples=100, confidence=0.95, seed=0, runs=())
    systems = {words: system, f"{words}'": system}
    verdict = Verdict(best=words, runner_up=f"{words}'", differences={}, settled_by=None)
    compared = Comparison(
        settings=settings, test_utterances=7, test_conversations=2, systems=systems, verdict=verdict, published=()
    )
    return list(comparison_figures.figures(compared).values())


def of_data(words: str, folder: Path) -> list[Figure]:
    """The figures of a check of the data, with the words as names of files, utterances and findings."""
    counts = dict.fromkeys(EMOTIONS, 3)
    file = AnnotationFile(
        file=words,
        generation=None,
        sha256=None,
        conversations=1,
        utterances=21,
        labelled_utterances=21,
        emotions=counts,
        published_as=None,
        published_conversations=None,
        published_utterances=None,
        published_emotions={},
        differs_in=(),
        unused_files=(),
    )
    chosen = pd.DataFrame([{"clip": "a", "utterance": words, "findings": words, "left_out": True}])
    return [
        data_check_figures.class_balance_figure(AnnotationFiles(train=file, official_test=file)),
        data_check_figures.problem_sheet_figure(chosen, {}),
    ]


def of_clips(words: str, folder: Path) -> list[Figure]:
    """The contact sheet and the figure of predictions, with the words as transcript and as names."""
    clip = {"frames": torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "log_mel": torch.zeros(9, 2)}
    save_file(clip, folder / "part")
    example = {"utterance": words, "text": words, "emotion": "joy", "part": "part", "has_video": True}
    shown = {**example, "model": words, "absent": words, "modalities": "text", "predicted": "joy"}
    return [
        contact_sheet(pd.DataFrame([{**example, "has_audio": True}]), folder),
        predictions_figure(pd.DataFrame([{**shown, **dict.fromkeys([*CALIBRATED, *PROBABILITIES], 0.1)}]), folder, 2),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("figures", [of_experiment, of_comparison, of_data, of_clips])
@pytest.mark.parametrize("name", WORDS)
def test_any_words_are_drawn_in_any_figure_as_they_are(
    name: str, figures: Callable[[str, Path], list[Figure]], tmp_path: Path
) -> None:
    """Warnings are errors here."""
    words, written = WORDS[name], ""
    for figure in figures(words, tmp_path):
        figure.savefig(BytesIO(), format="png", dpi=20)
        assert not any(text.get_parse_math() for text in figure.findobj(Text))
        written += " ".join(text.get_text() for text in figure.findobj(Text))
    if name != "long":
        assert " ".join(words.split()) in " ".join(written.split())


def test_a_long_title_is_broken_into_lines_that_fit() -> None:
    figure = PlainFigure(4, 2)
    figure.set_title("word " * 60)
    figure.savefig(BytesIO())
    assert figure.get_suptitle().count("\n") > 5
    box = figure.findobj(Text)[-1].get_window_extent()
    assert box.width < figure.bbox.width

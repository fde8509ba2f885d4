"""Nodes of the export stage."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from trimood.config.parameters import CompareParams, ExportFormat
from trimood.emotions import CLASS_NUMBERS
from trimood.scoring.intervals import (
    Estimate,
    count_confusions,
    draw_conversations,
    estimate,
    f1_of_classes,
    macro_f1,
    sample_score,
    weighted_f1,
)
from trimood.serving.trained_model import TrainedModel
from trimood.tracking.runs import Fetch, run_of_identity


class NotEvaluated(Exception):
    """No finished run in MLflow has scored the weights."""


def describe(
    exported_model: TrainedModel,
    mlflow_runs: pd.DataFrame,
    mlflow_artifacts: Fetch,
    compare: CompareParams,
    format: ExportFormat,
) -> str:
    """Returns the model card, in Markdown, with the scores of the weights' own run and intervals over conversations.

    Raises NotEvaluated without such a run, and ExportError if a package of the format is missing.
    """
    from trimood.reports.model_card import SplitScores, model_card

    if format == "onnx":
        from trimood.serving.onnx_export import require_packages

        require_packages()
    about = exported_model.weights.about
    run = run_of_identity(mlflow_runs, about.identity.digest)
    path = None if run is None else mlflow_artifacts(str(run["run_id"]), "predictions.parquet")
    predictions = None if path is None else pd.read_parquet(path)
    if run is None or predictions is None or predictions.attrs.get("weights") != about.fingerprint:
        raise NotEvaluated(
            f"model={exported_model.name}: none of the {len(mlflow_runs)} runs in MLflow has evaluated these weights "
            f"(identity {about.identity.digest}), so the model card has no scores. Run the experiment again (kedro run "
            f"--pipelines={about.identity.experiment}), or give the id of a finished run: --params model=RUN-ID"
        )
    scores = {
        str(split): SplitScores(
            utterances=len(rows),
            conversations=rows["conversation_id"].nunique(),
            macro_f1=_estimate(macro_f1, rows, compare),
            weighted_f1=_estimate(weighted_f1, rows, compare),
            f1_of_emotions=f1_of_classes(_counts(rows).sum(axis=0)).tolist(),
        )
        for split, rows in predictions.groupby("split", sort=False)
    }
    facts = {str(name): value for name, value in run.dropna().items()}
    return model_card(about.identity, str(run["run_id"]), facts, scores, compare.confidence, format)


def export(exported_model: TrainedModel, model_card: str, format: ExportFormat) -> Callable[[Path], None]:
    """Returns a function that fills a folder with the weights, in the original's formats or for ONNX, and README.md.

    Raises CheckpointError if the checkpoints have changed since the training; the function may raise ExportError.
    """
    return partial(_fill_with_graph if format == "onnx" else _fill_with_weights, exported_model, model_card)


def _fill_with_weights(trained: TrainedModel, model_card: str, folder: Path) -> None:
    from trimood.learning.setup import load_for_plan
    from trimood.model.upstream import facts_of, write_published

    identity, settings = trained.weights.about.identity, trained.plan.settings
    classifier = load_for_plan(trained.plan, trained.weights).model
    write_published(folder, classifier, settings, facts_of(identity.experiment, settings, identity.checkpoints))
    (folder / "README.md").write_text(model_card, encoding="utf-8")


def _fill_with_graph(trained: TrainedModel, model_card: str, folder: Path) -> None:
    from trimood.reports.model_card import how_to_run
    from trimood.serving.onnx_export import write_onnx

    recipe = write_onnx(folder, trained)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / "README.md").write_text(f"{model_card}\n\n{how_to_run(recipe, sizes)}", encoding="utf-8")


def _counts(rows: pd.DataFrame) -> np.ndarray:
    """[conversation, true, predicted]"""
    return count_confusions(rows["label"].astype(int), rows["predicted"].map(CLASS_NUMBERS), rows["conversation_id"])


def _estimate(score: Callable[[np.ndarray], np.ndarray], rows: pd.DataFrame, compare: CompareParams) -> Estimate:
    counts = _counts(rows)
    draws = draw_conversations(len(counts), compare.resamples, compare.seed) if len(counts) > 1 else np.ones((1, 1))
    return estimate(sample_score(score, counts[None], draws), compare.confidence)

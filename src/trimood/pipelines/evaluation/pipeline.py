"""The evaluation stage, a copy for each experiment in a namespace of its name."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines.evaluation.nodes import (
    calibrate,
    draw_confusion_matrix,
    draw_learning_curves,
    draw_modality_worth,
    measure_modality_worth,
    predict,
    score,
)


def create_pipeline(experiment: str) -> Pipeline:
    """Evaluates one experiment's best weights."""
    trained = ["plan", "best_weights", "validation_examples", "test_examples", "prepared_clips"]
    template = [
        Node(predict, trained, "predictions", name="predict"),
        Node(score, "predictions", "scores", name="score"),
        Node(calibrate, ["predictions", "best_weights"], "calibration", name="calibrate"),
        Node(draw_confusion_matrix, ["scores", "plan"], "confusion_matrix", name="draw_confusion_matrix"),
        Node(draw_learning_curves, ["history", "plan"], "learning_curves", name="draw_learning_curves"),
        Node(measure_modality_worth, trained, "modality_worth", name="measure_modality_worth"),
        Node(draw_modality_worth, ["modality_worth", "plan"], "modality_worth_figure", name="draw_modality_worth"),
    ]
    return Pipeline(
        template,
        namespace=experiment,
        inputs={"validation_examples", "test_examples", "prepared_clips"},
        tags=["evaluation"],
    )

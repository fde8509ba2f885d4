"""The stage of one experiment: plan, train, evaluate. Each experiment is a copy, with its name as the namespace."""

from kedro.pipeline import Node, Pipeline

from trimood.config.parameters import LoraParams, TrainingParams
from trimood.pipelines import Stage
from trimood.pipelines.experiment.nodes import (
    ablate,
    calibrate,
    draw_confusion_matrix,
    draw_learning_curves,
    draw_modality_ablation,
    embed,
    identify,
    plan,
    predict,
    remove_checkpoints,
    score,
    train,
)

STAGE = Stage(parameters={"training": TrainingParams, "lora": LoraParams})

CHECKPOINTS = ["video_checkpoint", "audio_checkpoint"]
EXAMPLES = ["validation_examples", "test_examples"]
TRAINING = ["training_examples", "validation_examples", "prepared_clips", "training_checkpoints"]


def create_pipeline(experiment: str) -> Pipeline:
    """Plans, trains and evaluates one experiment.

    `plan` needs no data and runs first, so errors in an experiment or a checkpoint are found before clips are decoded.
    """
    training = [
        Node(
            plan,
            ["params:experiment", "params:training", "params:lora", "params:data.clips", *CHECKPOINTS],
            "plan",
            name="plan",
            tags=["checks"],  # see trimood.cli
        ),
        Node(identify, ["plan", "training_examples", *EXAMPLES], "identity", name="identify", tags=["checks"]),
        Node(train, ["identity", *TRAINING], ["best_weights", "last_weights", "history"], name="train"),
    ]
    evaluation = [
        Node(embed, ["identity", "best_weights", *EXAMPLES, "prepared_clips"], "embeddings", name="embed"),
        Node(predict, ["embeddings", "best_weights", *EXAMPLES], "predictions", name="predict"),
        Node(score, "predictions", "scores", name="score"),
        Node(calibrate, ["predictions", "best_weights"], "calibration", name="calibrate"),
        Node(draw_confusion_matrix, ["scores", "plan"], "confusion_matrix", name="draw_confusion_matrix"),
        Node(draw_learning_curves, ["history", "plan"], "learning_curves", name="draw_learning_curves"),
        Node(ablate, ["embeddings", "best_weights", "predictions"], "modality_ablation", name="ablate"),
        Node(
            draw_modality_ablation,
            ["modality_ablation", "plan"],
            "modality_ablation_figure",
            name="draw_modality_ablation",
        ),
        Node(
            remove_checkpoints,
            ["history", "scores", "calibration", "modality_ablation", "training_checkpoints"],
            None,
            name="remove_checkpoints",
        ),
    ]
    return Pipeline(
        [*Pipeline(training, tags=["training"]).nodes, *Pipeline(evaluation, tags=["evaluation"]).nodes],
        namespace=experiment,
        inputs={*CHECKPOINTS, *EXAMPLES, *TRAINING},
        parameters={
            "params:experiment": f"params:{experiment}",
            "params:training": "params:training",
            "params:lora": "params:lora",
            "params:data.clips": "params:data.clips",
        },
    )

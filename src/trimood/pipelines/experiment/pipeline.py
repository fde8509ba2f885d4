"""The stage of one experiment: plan, train, evaluate. Each experiment is a copy, with its name as the namespace."""

from functools import partial, update_wrapper

from kedro.pipeline import Node, Pipeline

from trimood.config.experiment_settings import LoraParams, LossParams, TrainingParams
from trimood.config.parameters import EmbeddingParams
from trimood.pipelines import Stage, as_node

STAGE = Stage(
    parameters={
        "training": TrainingParams,
        "lora": LoraParams,
        "loss": LossParams,
        "embeddings": EmbeddingParams,
        "rerun": bool,
    }
)

SHARED = ["params:training", "params:lora", "params:loss"]
EVALUATION = ["params:embeddings", "params:compare"]
CHECKPOINTS = ["video_checkpoint", "audio_checkpoint", "text_tower"]
EXAMPLES = ["validation_examples", "test_examples"]
TRAINING = ["training_examples", "validation_examples", "prepared_clips", "training_checkpoints", "embedding_cache"]


def create_pipeline(experiment: str) -> Pipeline:
    """Plans, trains and evaluates one experiment.

    `plan` needs no data and runs first, so errors in an experiment or a checkpoint are found before clips are decoded.
    """
    from trimood.pipelines.experiment.nodes import draw_learning_curves, identify, plan, train

    of_this_experiment = update_wrapper(partial(identify, experiment), identify)
    training = [
        as_node(
            plan,
            ["params:experiment", *SHARED, "params:data.clips", *CHECKPOINTS],
            "plan",
            tags=["checks"],  # see trimood.runner
        ),
        as_node(of_this_experiment, ["plan", "training_examples", *EXAMPLES], "identity", tags=["checks"]),
        as_node(train, ["identity", *TRAINING, "params:embeddings"], ["best_weights", "last_weights", "history"]),
    ]
    curves = as_node(draw_learning_curves, ["history", "plan"], "learning_curves", tags=["evaluation"])
    return Pipeline(
        [*Pipeline(training, tags=["training"]).nodes, *_evaluation(["training_examples", "excluded_clips"]), curves],
        namespace=experiment,
        inputs={*CHECKPOINTS, *EXAMPLES, *TRAINING, "excluded_clips"},
        parameters={
            "params:experiment": f"params:{experiment}",
            **{name: name for name in (*SHARED, *EVALUATION, "params:data.clips")},
        },
    )


def create_evaluation_pipeline(namespace: str) -> Pipeline:
    """Evaluates weights that another stage has stored: its plan, identity and best_weights are in this namespace."""
    return Pipeline(
        _evaluation([]),
        namespace=namespace,
        inputs={*EXAMPLES, "prepared_clips", "embedding_cache"},
        parameters={*EVALUATION},
    )


def _evaluation(of_training: list[str]) -> list[Node]:
    """`of_training`: what the summary reads of a training: its examples, and the clips that were left out."""
    from trimood.pipelines.experiment.nodes import (
        ablate,
        calibrate,
        draw_confusion_matrix,
        draw_modality_ablation,
        embed,
        judge_calibration,
        predict,
        score,
        summarize,
    )

    nodes = [
        as_node(
            embed,
            ["identity", "best_weights", *EXAMPLES, "prepared_clips", "embedding_cache", "params:embeddings"],
            "embeddings",
        ),
        as_node(predict, ["embeddings", "best_weights", *EXAMPLES], "predictions"),
        as_node(score, "predictions", "scores"),
        as_node(summarize, ["identity", "predictions", "params:compare", *of_training], "summary"),
        as_node(calibrate, ["predictions", "best_weights"], "calibration"),
        as_node(judge_calibration, "predictions", "calibration_effect"),
        as_node(draw_confusion_matrix, ["scores", "plan"], "confusion_matrix"),
        as_node(ablate, ["embeddings", "best_weights", "predictions"], "modality_ablation"),
        as_node(draw_modality_ablation, ["modality_ablation", "plan"], "modality_ablation_figure"),
    ]
    return Pipeline(nodes, tags=["evaluation"]).nodes

"""The training stage, a copy for each experiment in a namespace of its name."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines.training.nodes import plan, remove_checkpoints, train

SHARED = {
    "video_checkpoint",
    "audio_checkpoint",
    "training_examples",
    "validation_examples",
    "prepared_clips",
    "training_checkpoints",
}


def create_pipeline(experiment: str) -> Pipeline:
    """Plans and trains one experiment.

    `plan` needs no data, so it stands in the first rank of the graph: what is wrong with an experiment or a checkpoint
    is known before a clip is decoded.
    """
    template = [
        Node(
            plan,
            ["params:experiment", "params:training", "params:lora", "video_checkpoint", "audio_checkpoint"],
            "plan",
            name="plan",
            tags=["checks"],  # see trimood.runner
        ),
        Node(
            train,
            ["plan", "training_examples", "validation_examples", "prepared_clips", "training_checkpoints"],
            ["best_weights", "last_weights", "history"],
            name="train",
        ),
        Node(remove_checkpoints, ["history", "training_checkpoints"], None, name="remove_checkpoints"),
    ]
    return Pipeline(
        template,
        namespace=experiment,
        inputs=SHARED,
        parameters={
            "params:experiment": f"params:{experiment}",
            "params:training": "params:training",
            "params:lora": "params:lora",
        },
        tags=["training"],
    )

"""The import stage: published weights in place of a training of the experiment named by the parameter `experiment`."""

from kedro.pipeline import Pipeline

from trimood.pipelines import Stage, as_node

STAGE = Stage(tracked="trainings", run_separately=True, parameters={"weights": str})

CHECKPOINTS = ["video_checkpoint", "audio_checkpoint", "text_tower"]
EXAMPLES = ["validation_examples", "test_examples"]
PARAMETERS = ["params:training", "params:lora", "params:loss", "params:data.clips"]


def create_pipeline() -> Pipeline:
    """Reads the weights before any clip is decoded, and stores them where a training would.

    The nodes that evaluate them are those of an experiment.
    """
    from trimood.pipelines.import_weights.nodes import identify, plan, read_weights, store

    # The tag: see trimood.runner.
    return Pipeline(
        [
            as_node(
                plan,
                ["params:experiment", "parameters", *PARAMETERS, *CHECKPOINTS, "params:weights", "earlier_models"],
                "plan",
                tags=["checks"],
            ),
            as_node(read_weights, ["plan", "params:weights"], ["tensors", "origin"], tags=["checks"]),
            as_node(identify, ["params:experiment", "plan", "origin", *EXAMPLES], "identity", tags=["checks"]),
            as_node(store, ["identity", "tensors", "models"], ["best_weights", "history"]),
        ],
        namespace="import_weights",
        inputs={*CHECKPOINTS, *EXAMPLES, "models"},
        parameters={"params:experiment", "params:weights", *PARAMETERS},
    )

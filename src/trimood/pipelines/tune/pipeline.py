"""The tuning stage: a search over the parameters of the experiment that the parameter `experiment` names."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines.tune.nodes import draw_search, plan_search, search, write_best


def create_pipeline() -> Pipeline:
    """Searches by validation; nothing of a test set is among its inputs.

    `plan_search` needs no data, so a wrong space or checkpoint is known before a clip is decoded.
    """
    return Pipeline(
        [
            Node(
                plan_search,
                [
                    "params:experiment",
                    "parameters",
                    "params:training",
                    "params:lora",
                    "params:tune",
                    "params:data.clips",
                    "video_checkpoint",
                    "audio_checkpoint",
                ],
                "plan",
                name="plan_search",
                tags=["checks"],  # see trimood.cli
            ),
            Node(
                search,
                [
                    "plan",
                    "params:tune",
                    "training_examples",
                    "validation_examples",
                    "prepared_clips",
                    "training_checkpoints",
                    "studies",
                    "corpus_description",
                ],
                ["trials", "best"],
                name="search",
            ),
            Node(write_best, ["plan", "best"], "best_experiment", name="write_best"),
            Node(draw_search, ["plan", "studies", "trials"], ["history", "importances"], name="draw_search"),
        ],
        namespace="tune",
        inputs={
            "video_checkpoint",
            "audio_checkpoint",
            "training_examples",
            "validation_examples",
            "prepared_clips",
            "training_checkpoints",
            "studies",
            "corpus_description",
        },
        parameters={"params:experiment", "params:training", "params:lora", "params:tune", "params:data.clips"},
        tags=["tuning"],
    )

"""The tuning stage: a search over the parameters of the experiment named by the parameter `experiment`."""

from kedro.pipeline import Node, Pipeline

from trimood.config.parameters import TuneParams
from trimood.pipelines import Stage, as_node

STAGE = Stage(tracked="search", parameters={"tune": TuneParams})

PARAMETERS = ["params:training", "params:lora", "params:loss", "params:tune", "params:data.clips"]
CACHE = ["embedding_cache", "params:embeddings"]
CHECKPOINTS = ["video_checkpoint", "audio_checkpoint", "text_tower"]
EXAMPLES = ["training_examples", "validation_examples", "prepared_clips"]
STORED = ["training_checkpoints", "studies", "corpus_description"]


def create_pipeline() -> Pipeline:
    """Searches by validation scores; no input contains test data.

    `plan_search` needs no data and runs first, so a wrong space or checkpoint is found before clips are decoded.
    """
    from trimood.pipelines.tune.nodes import draw_search, plan_search, search, write_best

    return Pipeline(
        [
            Node(
                plan_search,
                ["params:experiment", "parameters", *PARAMETERS, *CHECKPOINTS],
                "plan",
                name="plan_search",
                tags=["checks"],  # see trimood.runner
            ),
            as_node(search, ["plan", "params:tune", *EXAMPLES, *STORED, *CACHE], ["trials", "best"]),
            as_node(write_best, ["plan", "best"], "best_experiment"),
            as_node(draw_search, ["plan", "studies", "trials"], ["history", "importances"]),
        ],
        namespace="tune",
        inputs={*CHECKPOINTS, *EXAMPLES, *STORED, "embedding_cache"},
        parameters={"params:experiment", "params:embeddings", *PARAMETERS},
        tags=["tuning"],
    )

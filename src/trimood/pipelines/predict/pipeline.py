"""The prediction stage: predicts clips and text with a trained model; all three are parameters."""

from kedro.pipeline import Node, Pipeline

from trimood.config.parameters import PredictionParams, Words
from trimood.pipelines import Stage
from trimood.pipelines.predict.nodes import draw, predict, prepare, read_utterances, tabulate

STAGE = Stage(run_separately=True, parameters={"clips": str, "text": Words, "prediction": PredictionParams})


def create_pipeline() -> Pipeline:
    """Prepares and predicts utterances; prepared clips are stored in the same cache as for training."""
    return Pipeline(
        [
            Node(read_utterances, ["params:clips", "params:text"], "own_clips_utterances", name="read_utterances"),
            Node(
                prepare,
                ["own_clips_utterances", "trained_model", "own_clips_cut", "prepared_clips", "params:data.clips"],
                ["own_clips_examples", "own_clips_refused"],
                name="prepare",
            ),
            Node(
                predict,
                ["own_clips_examples", "trained_model", "prepared_clips"],
                "own_clips_predictions",
                name="predict",
            ),
            Node(tabulate, ["own_clips_predictions", "own_clips_refused"], "own_clips_table", name="tabulate"),
            Node(
                draw,
                ["own_clips_predictions", "own_clips_examples", "prepared_clips", "params:prediction"],
                "own_clips_picture",
                name="draw",
            ),
        ],
        namespace="predict",
        prefix_datasets_with_namespace=False,
    )

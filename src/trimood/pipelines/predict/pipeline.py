"""The prediction stage: predicts clips and text with a trained model; all three are parameters."""

from kedro.pipeline import Pipeline

from trimood.config.parameters import PredictionParams
from trimood.pipelines import Stage, as_node

STAGE = Stage(run_separately=True, parameters={"clips": str, "text": str, "prediction": PredictionParams})


def create_pipeline() -> Pipeline:
    """Prepares and predicts utterances; prepared clips are stored in the same cache as for training."""
    from trimood.pipelines.predict.nodes import draw, export, predict, prepare, read_utterances, score, summarise

    results = ["own_clips_predictions", "own_clips_refused", "own_clips_scores"]
    return Pipeline(
        [
            as_node(read_utterances, ["params:clips", "params:text"], "own_clips_utterances"),
            as_node(
                prepare,
                ["own_clips_utterances", "trained_model", "own_clips_cut", "prepared_clips", "params:data.clips"],
                ["own_clips_examples", "own_clips_refused"],
            ),
            as_node(predict, ["own_clips_examples", "trained_model", "prepared_clips"], "own_clips_predictions"),
            as_node(score, ["own_clips_predictions", "params:compare"], "own_clips_scores"),
            as_node(summarise, results, "own_clips_table"),
            as_node(export, results, ["own_clips_page", "own_clips_spreadsheet", "own_clips_subtitles"]),
            as_node(
                draw,
                ["own_clips_predictions", "own_clips_examples", "prepared_clips", "params:prediction"],
                "own_clips_picture",
            ),
        ],
        namespace="predict",
        prefix_datasets_with_namespace=False,
    )

"""The submission stage: predicts the official test file with the experiment named by the parameter `experiment`."""

from kedro.pipeline import Pipeline

from trimood.pipelines import Stage, as_node

STAGE = Stage(tracked="reports", run_separately=True)


def create_pipeline() -> Pipeline:
    """Predicts every utterance of the official test file, labelled or not, with an experiment's stored weights.

    Its inputs come from the ingestion and preprocessing stages.
    """
    from trimood.pipelines.submission.nodes import describe, predict, score_pairs, write_pairs

    return Pipeline(
        [
            as_node(
                predict,
                [
                    *("identity", "best_weights", "submission_examples", "prepared_clips"),
                    *("embedding_cache", "params:embeddings"),
                ],
                "predictions",
            ),
            as_node(write_pairs, ["submission_utterances", "predictions"], "pairs"),
            as_node(describe, ["params:experiment", "corpus", "submission_utterances", "predictions"], "description"),
            as_node(score_pairs, ["pairs", "submission_utterances", "corpus"], "scores"),
        ],
        namespace="submission",
        inputs={"corpus", "submission_utterances", "submission_examples", "prepared_clips", "embedding_cache"},
        parameters={"params:experiment", "params:embeddings"},
        tags=["submission"],
    )

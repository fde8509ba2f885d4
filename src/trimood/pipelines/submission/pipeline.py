"""The submission stage: the trained experiment that the parameter `experiment` names, on the official test file."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines.submission.nodes import describe, predict, score_pairs, write_pairs


def create_pipeline() -> Pipeline:
    """Predicts every utterance of the official test file, labelled or not, from an experiment's stored weights.

    The ingestion and the preprocessing stage make its utterances and examples.
    """
    return Pipeline(
        [
            Node(
                predict,
                ["plan", "best_weights", "submission_examples", "prepared_clips"],
                "predictions",
                name="predict",
            ),
            Node(write_pairs, ["submission_utterances", "predictions"], "pairs", name="write_pairs"),
            Node(
                describe,
                ["params:experiment", "corpus", "submission_utterances", "predictions"],
                "description",
                name="describe",
            ),
            Node(score_pairs, ["pairs", "submission_utterances", "corpus"], "scores", name="score_pairs"),
        ],
        namespace="submission",
        inputs={"corpus", "submission_utterances", "submission_examples", "prepared_clips"},
        parameters={"params:experiment"},
        tags=["submission"],
    )

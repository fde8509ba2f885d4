"""The ingestion stage: from the corpus folder to training, validation and test utterances."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines import Stage, as_node

STAGE = Stage()


def create_pipeline() -> Pipeline:
    """Reads and splits the corpus; utterances of the official test are never in training or validation."""
    from trimood.pipelines.ingestion.nodes import (
        read_annotations,
        split_conversations,
        take_labelled,
    )

    return Pipeline(
        [
            as_node(
                read_annotations,
                ["corpus", "meld", "params:data.corpus"],
                [
                    *("development_utterances", "official_validation_utterances", "official_annotations"),
                    "corpus_description",
                ],
            ),
            Node(take_labelled, "official_annotations", "official_test_utterances", name="take_official_test"),
            as_node(
                split_conversations,
                [
                    *("development_utterances", "official_validation_utterances", "corpus_description"),
                    "params:data.split",
                ],
                ["training_utterances", "validation_utterances", "held_out_utterances"],
            ),
        ],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )


def create_submission_pipeline() -> Pipeline:
    """Reads all utterances of the official test file, including those without a label."""
    from trimood.pipelines.ingestion.nodes import (
        read_for_submission,
    )

    return Pipeline(
        [as_node(read_for_submission, "corpus", "submission_utterances")],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )

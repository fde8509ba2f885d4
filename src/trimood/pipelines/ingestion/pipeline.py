"""The ingestion stage: from the corpus folder to training, validation and test utterances."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines import Stage
from trimood.pipelines.ingestion.nodes import (
    describe_corpus,
    read_annotations,
    read_for_submission,
    split_conversations,
    take_development,
    take_official_test,
)

STAGE = Stage()


def create_pipeline() -> Pipeline:
    """Reads and splits the corpus; utterances of the official test are never in training or validation."""
    return Pipeline(
        [
            Node(read_annotations, ["corpus", "meld"], "annotations", name="read_annotations"),
            Node(take_development, "annotations", "development_utterances", name="take_development"),
            Node(take_official_test, "annotations", "official_test_utterances", name="take_official_test"),
            Node(describe_corpus, "annotations", "corpus_description", name="describe_corpus"),
            Node(
                split_conversations,
                ["development_utterances", "corpus_description", "params:data.split"],
                ["training_utterances", "validation_utterances", "held_out_utterances"],
                name="split_conversations",
            ),
        ],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )


def create_submission_pipeline() -> Pipeline:
    """Reads all utterances of the official test file, including those without a label."""
    return Pipeline(
        [Node(read_for_submission, "corpus", "submission_utterances", name="read_for_submission")],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )

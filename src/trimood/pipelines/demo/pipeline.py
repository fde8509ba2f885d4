"""The demo stage: from a seed to a corpus in ECF's layout and two tiny checkpoints in LanguageBind's."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines.demo.nodes import make_checkpoints, make_corpus


def create_pipeline() -> Pipeline:
    """Make what users otherwise bring: clips with annotations, and pre-trained towers."""
    return Pipeline(
        [
            Node(make_corpus, "params:demo", "corpus", name="make_corpus"),
            Node(make_checkpoints, "params:demo", ["video_checkpoint", "audio_checkpoint"], name="make_checkpoints"),
        ],
        namespace="demo",
        prefix_datasets_with_namespace=False,
        parameters={"params:demo"},
    )

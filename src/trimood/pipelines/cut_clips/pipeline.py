"""The cutting stage: from the annotations' spans and a folder of episodes to the clips in the corpus folder."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines.cut_clips.nodes import cut_clips, list_spans


def create_pipeline() -> Pipeline:
    """`kedro run --pipelines=cut_clips`; the clips are written into the corpus folder, the one raw input it adds to."""
    return Pipeline(
        [
            Node(list_spans, ["corpus", "params:cutting"], "clip_spans", name="list_spans"),
            Node(cut_clips, ["clip_spans", "corpus", "episodes", "params:cutting"], "cut_clips", name="cut_clips"),
        ],
        namespace="cut_clips",
        prefix_datasets_with_namespace=False,
    )

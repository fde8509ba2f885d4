"""The cutting stage: from annotated spans and a folder of episodes to clips in the corpus folder."""

from kedro.pipeline import Pipeline

from trimood.config.parameters import CuttingParams
from trimood.pipelines import Stage, as_node

STAGE = Stage(parameters={"cutting": CuttingParams})


def create_pipeline() -> Pipeline:
    """Cuts clips into the corpus folder; this is the only stage that adds files to a raw input."""
    from trimood.pipelines.cut_clips.nodes import cut_clips, list_spans

    return Pipeline(
        [
            as_node(list_spans, ["corpus", "params:cutting"], "clip_spans"),
            as_node(cut_clips, ["clip_spans", "corpus", "episodes", "params:cutting"], "cut_clips"),
        ],
        namespace="cut_clips",
        prefix_datasets_with_namespace=False,
    )
